/// The README's installation in a cluster: its commands as they stand there, and what every document may tell people to type.
module K8sReq.Chart.Tests.ReadmeWalkTests

open System
open System.IO
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.Chart.Tests.Tools
open K8sReq.TestKit

/// The commands of the shell blocks below the first heading that has this text, up to the next heading of its level: a line each,
/// without comments, continued lines put together.
let commandsUnder (heading: string) (markdown: string) : string list =
    let lines = markdown.Split '\n' |> List.ofArray |> List.map _.TrimEnd()

    let isHeading (line: string) = Regex.IsMatch(line, "^#{1,6} ")
    let level (line: string) = line.IndexOf ' '

    match
        lines
        |> List.skipWhile (fun line ->
            not (isHeading line && line.Contains(heading, StringComparison.OrdinalIgnoreCase)))
    with
    | [] -> []
    | first :: rest ->
        // A comment of a shell block looks like a heading.
        let _, _, commands =
            ((None, false, []), rest)
            ||> List.fold (fun (block, isOver, commands) line ->
                match block with
                | _ when isOver -> block, isOver, commands
                | Some _ when line.StartsWith "```" -> None, false, commands
                | Some true -> block, false, line :: commands
                | Some false -> block, false, commands
                | None when line.StartsWith "```" ->
                    Some(line = "```sh" || line = "```bash" || line = "```shell"), false, commands
                | None -> None, isHeading line && level line <= level first, commands)

        List.rev commands
        |> String.concat "\n"
        |> fun text -> Regex.Replace(text, @"\\\n\s*", "").Split '\n'
        |> List.ofArray
        |> List.map (fun line -> Regex.Replace(line, @"(^|\s)#.*$", "").Trim())
        |> List.filter ((<>) "")

/// What can be run where nothing runs pods: there is nobody to forward a port to, to wait for or to read a log of.
let canRun (command: string) : bool =
    Regex.IsMatch(command, "^(helm|kubectl) ")
    && not (
        Regex.IsMatch(
            command,
            @"^kubectl .*\b(port-forward|logs?|wait|rollout|exec|run|attach)\b|^kubectl (port-forward|logs)"
        )
    )
    && not (command.EndsWith '&')

/// Without waiting for pods, which nothing starts.
let private withoutWait (line: string) =
    Regex.Replace(line, @"\s--wait\b(=\S+)?", "")

let private readme = lazy File.ReadAllText(Path.Combine(root, "README.md"))

let private walk =
    lazy
        (commandsUnder "in a cluster" readme.Value
         |> List.filter canRun
         |> List.map withoutWait)

/// The documents, and all else that people are told things by.
let private documents =
    [ "*.md"; "*.txt"; "*.tpl"; "*.yaml"; "*.fsx" ]
    |> List.collect (fun pattern ->
        List.ofArray (Directory.GetFiles(root, pattern, SearchOption.AllDirectories)))
    |> List.filter (fun path ->
        let relative = Path.GetRelativePath(root, path).Replace('\\', '/')

        not (Regex.IsMatch(relative, "(^|/)(bin|obj|artifacts|node_modules|[.]git)/")))

// ReplicationControllers have the short name rc in every cluster, and theirs wins.
let private teachesRc (text: string) =
    Regex.IsMatch(text, @"kubectl[^\n`]* (get|describe|delete|edit|explain|watch) rc\b|\bget rc\b")

let private kubeconfig () =
    match Environment.GetEnvironmentVariable "K8SREQ_TEST_KUBECONFIG" with
    | null
    | "" -> skiptest "K8SREQ_TEST_KUBECONFIG names no cluster"
    | path -> path

/// Runs a line of the README in a shell, in the repository, with the tools and the cluster of the test.
let private shell (kubeconfig: string) (line: string) =
    let tools = Path.GetDirectoryName(InstalledTool.path "kubectl") |> nonNull

    run "env" [
        "-C"
        root
        $"KUBECONFIG={kubeconfig}"
        $"""PATH={tools}:{Environment.GetEnvironmentVariable "PATH"}"""
        "sh"
        "-c"
        line
    ]

// The chart without its limit on the cluster's version.
let private withoutLimit (folder: DirectoryInfo) (line: string) =
    let copy = Path.Combine(folder.FullName, "k8sreq-duplicator-controller")

    for file in Directory.GetFiles(chart, "*", SearchOption.AllDirectories) do
        let target = Path.Combine(copy, Path.GetRelativePath(chart, file))
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName target)) |> ignore
        File.WriteAllText(target, Regex.Replace(File.ReadAllText file, "(?m)^kubeVersion: .*$", ""))

    Regex.Replace(line, @"(?<=\s)(\./)?chart/k8sreq-duplicator-controller/?(?=\s|$)", copy)

/// Runs a line of the README. On a cluster that is older than the chart allows, or does not tell, it is the chart without that limit:
/// here nothing depends on it.
let private walkLine (kubeconfig: string) (folder: DirectoryInfo) (line: string) =
    match shell kubeconfig line with
    | code, _, errors when code <> 0 && errors.Contains "kubeVersion" ->
        printfn "the cluster is older than the chart allows: it is installed without that limit"
        shell kubeconfig (withoutLimit folder line)
    | result -> result

let tests =
    testList "readme" [
        test "commands are those of the shell blocks of a part, put together and without comments" {
            let markdown =
                "# A\n```sh\nno\n```\n## In a cluster, quickly\ntext\n```sh\nhelm install a \\\n  --set b=c   # why\n\n# docker\nkubectl get x\n```\n### More\n```yaml\nkind: no\n```\n```sh\nlast #1\n```\n## B\n```sh\nno\n```\n"

            Expect.equal
                (commandsUnder "in a cluster" markdown)
                [ "helm install a --set b=c"; "kubectl get x"; "last" ]
                "commands"
        }

        test "what needs pods or an engine is left out" {
            Expect.equal
                ([
                    "docker build -t a ."
                    "kind load docker-image a"
                    "kubectl port-forward svc/a 8080 &"
                    "kubectl logs -n a deployment/b"
                    "kubectl -n a rollout status deployment/b"
                    "helm install a b"
                    "kubectl get requestclones -n a"
                 ]
                 |> List.filter canRun)
                [ "helm install a b"; "kubectl get requestclones -n a" ]
                "what is run"
        }

        test "no document teaches `kubectl get rc`, which lists ReplicationControllers" {
            Expect.isGreaterThan documents.Length 20 "the documents"
            Expect.isTrue (teachesRc "`kubectl get rc -A`") "found"
            Expect.isFalse (teachesRc "kubectl get reqclone; src/rc.d") "not found"

            for path in documents do
                Expect.isFalse (teachesRc (File.ReadAllText path)) path
        }

        withHelm "the README's helm install renders, with the image that its docker build makes" (fun helm ->
            let install =
                walk.Value |> List.filter (fun line -> line.StartsWith "helm install ")

            Expect.isNonEmpty install "it installs the chart"

            for line in install do
                let arguments =
                    Regex.Split(line, @"\s+")
                    |> List.ofArray
                    |> List.skip 2
                    |> List.map (fun argument ->
                        if argument.StartsWith "chart/" then
                            Path.Combine(root, argument)
                        else
                            argument)

                succeed helm ("template" :: arguments) |> ignore)

        testCaseTask "the README's commands work in a cluster, and its RequestClones become ready"
        <| fun () -> task {
            let kubeconfig = kubeconfig ()
            let kubectl = InstalledTool.path "kubectl"

            let asked arguments =
                run kubectl ([ "--kubeconfig"; kubeconfig ] @ arguments)

            let told arguments =
                succeed kubectl ([ "--kubeconfig"; kubeconfig ] @ arguments)

            for ns in [ "webhooks"; "k8sreq-system" ] do
                match asked [ "get"; "namespace"; ns ] with
                | 0, _, _ -> skiptest $"the cluster has a namespace {ns}: it is not this test's to change"
                | _ -> ()

            let folder = Directory.CreateTempSubdirectory "k8sreq-walk"

            try
                for line in walk.Value do
                    let code, output, errors = walkLine kubeconfig folder line
                    Expect.equal code 0 $"{line}\n{output}{errors}"

                let clones = [ "webhooks-app-1"; "webhooks-app-2" ]

                for resource in [ "requestclones"; "reqclone" ] do
                    let listed = told [ "get"; resource; "-n"; "webhooks" ]

                    for clone in clones do
                        Expect.stringContains listed clone $"kubectl get {resource}"

                // What the pods would do, if there was anybody to start them.
                use program =
                    PublishedProgram.Start(
                        [
                            "--http-addr=127.0.0.1:0"
                            "--probe-addr=127.0.0.1:0"
                            "--metrics-addr=127.0.0.1:0"
                            "--status-addr=127.0.0.1:0"
                            "--namespaces=webhooks"
                        ],
                        [ "KUBECONFIG", kubeconfig; "POD_NAME", "walk" ]
                    )

                let! port = program.Says @"Proxy listening on port (\d+)"
                let! routes = program.Says @"Routes: (\d+ host with \d+ targets)"
                Expect.equal routes "1 host with 2 targets" "both are routed"

                for clone in clones do
                    do!
                        Waiting.until $"{clone} to be ready" (fun () ->
                            told [
                                "get"
                                "requestclone"
                                clone
                                "-n"
                                "webhooks"
                                "-o"
                                "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"
                            ]
                            |> fun ready -> Task.FromResult((ready = "True")))

                let! answer =
                    TestClient.roundTrip
                        (int port)
                        "POST /hooks HTTP/1.1\r\nHost: webhooks.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"

                Expect.equal (TestClient.status answer) 202 "a request for the host"
            finally
                // All but the definition, as the other tests of a cluster do.
                let helm = InstalledTool.path "helm"

                for line in walk.Value do
                    let found = Regex.Match(line, @"^helm install (\S+) .*(?:--namespace|-n)[ =](\S+)")

                    if found.Success then
                        run helm [
                            "uninstall"
                            found.Groups[1].Value
                            "--namespace"
                            found.Groups[2].Value
                            "--kubeconfig"
                            kubeconfig
                        ]
                        |> ignore

                asked [
                    "delete"
                    "--ignore-not-found"
                    "--wait=false"
                    "-f"
                    Path.Combine(root, "examples", "cluster")
                ]
                |> ignore

                asked [ "delete"; "namespace"; "k8sreq-system"; "--ignore-not-found"; "--wait=false" ]
                |> ignore

                folder.Delete true
        }
    ]
