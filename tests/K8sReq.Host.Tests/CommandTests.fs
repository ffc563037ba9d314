/// The commands for daily work, together as people use them: every failure that the documents speak of can be seen with
/// `receive`, `send` and `tap`.
module K8sReq.Host.Tests.CommandTests

open System
open System.Text
open System.Security.Cryptography
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

let private run arguments variables =
    PublishedProgram.Run(arguments, variables)

/// A receiver, a proxy with a route for a.example to it.
[<Sealed>]
type private Stage
    (folder: TestFolder, receiver: PublishedProgram, proxy: PublishedProgram, http: string, page: string) =
    member _.Receiver = receiver
    member _.Proxy = proxy
    member _.Page = page
    member _.Folder = folder

    member _.Send(arguments: string list) =
        run ([ "send"; "--addr"; http ] @ arguments) []

    member _.Tap(arguments: string list) : PublishedProgram =
        PublishedProgram.Start([ "tap"; "--addr"; page ] @ arguments)

    interface IDisposable with
        member _.Dispose() =
            (proxy :> IDisposable).Dispose()
            (receiver :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()

let private stage (receiver: string list) (spec: string) : Task<Stage> = task {
    let folder = new TestFolder()

    let receiver =
        PublishedProgram.Start([ "receive"; "--addr"; "127.0.0.1:0" ] @ receiver)

    let! port = receiver.Says @"receives on port (\d+)"

    folder.Write(
        "routes/all.yaml",
        Manifests.service "app" (int port)
        + (Manifests.clone "copy" "a.example" "app")
            .Replace("servicePort: http}}", $"servicePort: http}}{spec}}}")
    )

    let proxy =
        PublishedProgram.Start [
            "--manifests"
            folder.At "routes"
            "--http-addr=127.0.0.1:0"
            "--probe-addr=127.0.0.1:0"
            "--metrics-addr=127.0.0.1:0"
            "--status-addr=127.0.0.1:0"
        ]

    let! http = proxy.Says @"Proxy listening on port (\d+)"
    let! page = proxy.Says @"Status page listening on port (\d+)"
    let! _ = proxy.Says @"Routes: 1 host "
    return new Stage(folder, receiver, proxy, $"http://127.0.0.1:{http}", $"http://127.0.0.1:{page}")
}

// Sends until the tap shows something: only what comes after it has been opened is shown.
let private untilShown (stage: Stage) (tap: PublishedProgram) (pattern: string) arguments = task {
    do!
        Waiting.until $"tap to show {pattern}" (fun () -> task {
            let! _ = stage.Send arguments
            return Regex.IsMatch(tap.Output, pattern)
        })
}

let private shows
    name
    (receiver: string list)
    (spec: string)
    (tapped: string list)
    (sent: string list)
    (patterns: string list)
    =
    testCaseTask $"tap shows {name}"
    <| fun () -> task {
        use! stage = stage receiver spec
        use tap = stage.Tap tapped

        for pattern in patterns do
            do! untilShown stage tap pattern sent

        tap.Terminate()
        let! code = tap.ExitCode()
        Expect.equal (code, tap.Errors) (0, "") "it is stopped"
    }

let private hex (secret: string) (text: string) =
    Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes secret, Encoding.UTF8.GetBytes text))

let tests =
    testList "the commands" [
        testCaseTask "send prints the response, and a receiver gets what was sent"
        <| fun () -> task {
            use! stage = stage [ "--name"; "app" ] ""

            let! code, output, errors =
                stage.Send [
                    "a.example"
                    "--path"
                    "/a//b/../c?d=%2F"
                    "--data"
                    "{\"a\": 1}"
                    "-H"
                    "X-Test: 1"
                ]

            Expect.equal (code, errors) (0, "") output
            Expect.stringStarts output "HTTP/1.1 202 Accepted" "the response"
            let! _ = stage.Receiver.Says @"POST /a//b/\.\./c\?d=%2F HTTP/1\.1"
            let! _ = stage.Receiver.Says "X-Test: 1"
            let! _ = stage.Receiver.Says "Content-Type: application/json"
            let! _ = stage.Receiver.Says "\"a\": 1"
            let! code, output, _ = stage.Send [ "b.example" ]
            Expect.equal code 1 "not 2xx"
            Expect.stringContains output "No target is configured for this host." "why"
        }

        testCaseTask "what cannot be sent is said"
        <| fun () -> task {
            let! code, _, errors = run [ "send"; "a.example"; "--addr"; "http://127.0.0.1:1" ] []
            Expect.equal code 1 "nobody is there"
            Expect.stringContains errors "no response from http://127.0.0.1:1" "where"
            let! code, _, errors = run [ "send"; "a.example"; "--file"; "/nowhere" ] []
            Expect.equal code 2 "not asked properly"
            Expect.stringContains errors "/nowhere" "what"
        }

        testCaseTask "a signature that send makes is still right at the receiver"
        <| fun () -> task {
            use! stage = stage [] ""
            stage.Folder.Write("secret", "s3cret\n")
            stage.Folder.Write("body", "{\"b\":\n 2}")

            let! code, output, _ =
                stage.Send [
                    "a.example"
                    "--file"
                    stage.Folder.At "body"
                    "--sign"
                    "github"
                    "--secret-file"
                    stage.Folder.At "secret"
                ]

            Expect.equal code 0 output
            let expected = hex "s3cret" "{\"b\":\n 2}"
            let! _ = stage.Receiver.Says $"X-Hub-Signature-256: sha256={expected}"
            ()
        }

        testCaseTask "receive --fail-every fails each so many-th request alone"
        <| fun () -> task {
            use receiver =
                PublishedProgram.Start [
                    "receive"
                    "--addr"
                    "127.0.0.1:0"
                    "--fail-every"
                    "3"
                    "--status"
                    "503"
                ]

            let! port = receiver.Says @"receives on port (\d+)"
            let codes = ResizeArray<int>()

            for _ in 1..6 do
                let! answer = TestClient.get (int port) "x"
                codes.Add(TestClient.status answer)

            Expect.equal (List.ofSeq codes) [ 200; 200; 503; 200; 200; 503 ] "each third"
        }

        shows "a request and its copy, with path and query only where asked for" [] "" [ "--paths" ] [
            "a.example"
            "--path"
            "/hook?token=1"
        ] [
            @"POST a\.example/hook\?token=1  202  1 copy"
            @"shop/copy  delivered \(200\)  1 attempt  [\d.]+ ms"
        ]

        shows "a receiver that answers 500" [ "--status"; "500" ] "" [ "--failed" ] [ "a.example" ] [
            @"POST a\.example  202  1 copy\n.*shop/copy  failed: .*500.*  1 attempt"
        ]

        shows
            "a receiver that fails now and then, and the attempt that was right"
            [ "--fail-every"; "2" ]
            ", delivery: {retry: 3, backoffDelay: 1ms}"
            [] [ "a.example" ] [ @"shop/copy  delivered \(200\)  2 attempts" ]

        shows
            "a receiver that is too slow"
            [ "--delay"; "30s" ]
            ", timeouts: {backendRequest: 20ms}"
            [ "--clone"; "shop/copy" ] [ "a.example" ] [ @"shop/copy  failed: .*1 attempt" ]

        shows "a request that nobody gets" [] "" [ "--failed" ] [ "unknown.example" ] [
            @"POST unknown\.example  503  no_route"
        ]

        shows "a loop" [] "" [] [ "a.example"; "-H"; "Via: 1.1 k8sreq" ] [ @"POST a\.example  508  loop" ]

        testCaseTask "tap shows a receiver that is away, and a line of JSON is an object"
        <| fun () -> task {
            use! stage = stage [] ""
            use tap = stage.Tap [ "--output"; "json"; "--host"; "A.example:80" ]
            stage.Receiver.Kill()
            let! _ = stage.Receiver.ExitCode()
            do! untilShown stage tap "\"kind\":\"copy\"" [ "a.example"; "--path"; "/secret" ]

            let copies =
                tap.Output.Split '\n'
                |> Array.filter _.Contains("\"copy\"")
                |> Array.map (fun line ->
                    use document = JsonDocument.Parse line
                    let copy = document.RootElement

                    string (copy.GetProperty "clone"),
                    string (copy.GetProperty "outcome"),
                    copy.GetProperty("attempts").GetInt32())

            Expect.all copies (fun copy -> copy = ("shop/copy", "failed", 1)) $"%A{copies}"
            Expect.isFalse (tap.Output.Contains "secret") "no path unless it is asked for"
        }

        testCaseTask "tap ends with the proxy, and says so where there is none"
        <| fun () -> task {
            use! stage = stage [] ""
            use tap = stage.Tap []
            do! untilShown stage tap "202" [ "a.example" ]
            stage.Proxy.Terminate()
            let! proxyCode = stage.Proxy.ExitCode()
            let! code = tap.ExitCode()
            Expect.equal (proxyCode, code) (0, 1) "both ended"
            let! code, _, errors = run [ "tap"; "--addr"; "http://127.0.0.1:1" ] []
            Expect.equal code 1 "nobody"
            Expect.stringContains errors "no proxy answers at http://127.0.0.1:1" "where"
        }

        testCaseTask "doctor finds what is wrong with a folder and a journal, and nothing else"
        <| fun () -> task {
            use folder = new TestFolder()
            folder.Write("routes/a.yaml", Manifests.route "a.example" [ 9001 ])
            folder.Write("journal/keep", "")

            let doctor more = task {
                let! code, output, errors =
                    run
                        ([ "doctor"; "--manifests"; folder.At "routes"; "--status-addr"; "127.0.0.1:1" ]
                         @ more)
                        [ "JOURNAL", folder.At "journal" ]

                Expect.equal errors "" output
                return code, output
            }

            let! code, output = doctor []
            Expect.equal code 0 output
            Expect.isMatch output @"ok\s+routes\s+1 RequestClone in " "the routes"
            Expect.isMatch output @"(ok|warning)\s+journal\s+.* can be written" "the journal"
            Expect.isMatch output @"skipped\s+replica" "nobody runs there"
            folder.Write("routes/b.yaml", Manifests.clone "lost" "b.example" "nobody")
            let! code, output = doctor [ "--output"; "json" ]
            Expect.equal code 1 output
            use document = JsonDocument.Parse output

            let failed = [
                for finding in document.RootElement.GetProperty("findings").EnumerateArray() do
                    if string (finding.GetProperty "state") = "failed" then
                        string (finding.GetProperty "check"), string (finding.GetProperty "detail")
            ]

            Expect.equal
                failed
                [ "routes", "RequestClone shop/lost: Service shop/nobody does not exist" ]
                "why"
        }

        testCaseTask "doctor knows the replica that runs beside it"
        <| fun () -> task {
            use! stage = stage [] ""

            let! code, output, _ =
                run [
                    "doctor"
                    "--manifests"
                    stage.Folder.At "routes"
                    "--status-addr"
                    stage.Page.Substring "http://".Length
                ] []

            Expect.equal code 0 output
            Expect.isMatch output @"ok\s+replica\s+.* is ready" "it is ready"
        }

        testCaseTask "bash completes commands, flags and values"
        <| fun () -> task {
            let script =
                """eval "$("$1" completion bash)"
complete_line() {
    COMP_LINE="$1"; COMP_POINT=${#1}
    read -ra COMP_WORDS <<< "$1"; [[ "$1" == *" " ]] && COMP_WORDS+=("")
    COMP_WORDS[0]="$PROGRAM"; COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    _k8sreq; echo "${COMPREPLY[*]}" | tr '\n' ' '; echo
}
PROGRAM="$1"
complete_line "k8sreq dea"
complete_line "k8sreq dead re"
complete_line "k8sreq tap --output "
complete_line "k8sreq --http-a"
"""

            use folder = new TestFolder()
            folder.Write("complete.sh", script)

            use bash =
                PublishedProgram.StartAt(
                    "/bin/bash",
                    [ folder.At "complete.sh"; PublishedProgram.Path ],
                    [ "PATH", string (Environment.GetEnvironmentVariable "PATH") ]
                )

            let! code = bash.ExitCode()
            Expect.equal (code, bash.Errors) (0, "") bash.Output
            let lines = bash.Output.Split '\n' |> Array.map _.Trim()
            Expect.equal lines [| "dead"; "replay"; "json table"; "--http-addr" |] "each"
        }
    ]
