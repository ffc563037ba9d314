/// The published program as users start it.
module K8sReq.Host.Tests.ProgramTests

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

let private run arguments variables =
    PublishedProgram.Run(arguments, variables)

let private free = [
    "--http-addr=127.0.0.1:0"
    "--probe-addr=127.0.0.1:0"
    "--metrics-addr=127.0.0.1:0"
    "--status-addr=127.0.0.1:0"
]

let private serve manifests more = task {
    let folder = new TestFolder()
    folder.Write("all.yaml", manifests)
    let program = PublishedProgram.Start([ "--manifests"; folder.Path ] @ free @ more)
    let! port = program.Says @"Proxy listening on port (\d+)"
    return folder, program, int port
}

/// With a route for a.example, and so many descriptors.
let private serveWithin (descriptors: int) (folder: TestFolder) (target: TestTarget) more =
    folder.Write("all.yaml", Manifests.route "a.example" [ target.Port ])

    PublishedProgram.StartUnder(
        "/bin/sh",
        [ "-c"; $"ulimit -n {descriptors}; ALLOW_LOCAL_TARGETS=true exec \"$@\""; "sh" ],
        [ "--manifests"; folder.Path ] @ free @ more
    )

let private kubeconfig (folder: TestFolder) (address: string) (user: string) =
    folder.Write(
        "config",
        $"clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: a, user: {user}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
    )

    folder.At "config"

/// The exit code of a program that is told to end before it knows the routes.
let private endedBefore (signal: int) (address: string) (user: string) arguments = task {
    use folder = new TestFolder()

    use program =
        PublishedProgram.Start(free @ arguments, [ "KUBECONFIG", kubeconfig folder address user ])

    // Once the cluster is asked for the routes.
    let! _ = program.Says "Reading routes from the cluster"
    let! port = program.Says @"Probes listening on port (\d+)"

    let! ready =
        TestClient.roundTrip (int port) "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    Expect.equal (TestClient.status ready) 503 "no routes are known"
    program.Signal signal
    return! program.ExitCode()
}

let tests =
    testSequenced
    <| testList "the program" [
        testCaseTask "--help and --version"
        <| fun () -> task {
            let! code, output, errors = run [ "--help" ] []
            Expect.equal (code, errors) (0, "") "help"
            Expect.stringContains output "--proxy-read-timeout" "the settings"
            let! code, output, _ = run [ "--version" ] []
            Expect.equal code 0 "version"
            Expect.isMatch output @"^k8sreq \d+\.\d+\.\d+" "a number"
        }

        testCaseTask "wrong settings end it at once with exit code 2, all of them named"
        <| fun () -> task {
            let! code, output, errors =
                run [ "--manifests=x"; "--http-addr=8080"; "--nope" ] [ "PROXY_READ_TIMEOUT", "soon" ]

            Expect.equal (code, output) (2, "") "refused"

            Expect.equal
                (errors.Split '\n')
                [|
                    "k8sreq: unknown flag --nope; --help lists all flags"
                    "k8sreq: --http-addr is \"8080\"; accepted is [HOST]:PORT, such as :8080 or 127.0.0.1:8080"
                    "k8sreq: PROXY_READ_TIMEOUT is \"soon\"; accepted is a duration of 1ms or more, such as 30s, 1m30s or 500ms"
                |]
                "each on a line"
        }

        testCaseTask
            "without descriptors left it says so once, takes no core, and goes on when there are some"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use folder = new TestFolder()
            use program = serveWithin 256 folder target [ "--max-connections=100000" ]
            let! port = program.Says @"Proxy listening on port (\d+)"
            let! _ = program.Says @"Routes: 1 host "
            let! first = TestClient.get (int port) "a.example"
            Expect.equal (TestClient.status first) 202 "it serves"

            let! clients = Task.WhenAll [ for _ in 1..300 -> TestClient.Connect(int port) ]

            let! _ = program.Says "Cannot accept connections"
            let before = Process.GetProcessById(program.Id).TotalProcessorTime
            let watch = Stopwatch.StartNew()

            for _ in 1..20 do
                // What it does meanwhile is counted, not how fast.
                do! Task.Delay 50

            let spent = Process.GetProcessById(program.Id).TotalProcessorTime - before
            // A core, and more, without a pause.
            Expect.isLessThan spent (watch.Elapsed / 2.0) "it waits before it tries again"

            for client in clients do
                (client :> IDisposable).Dispose()

            do!
                Waiting.until "to be served again" (fun () -> task {
                    use! client = TestClient.Connect(int port)
                    do! client.Send "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"

                    match! client.TryAnswer() with
                    | Some answer -> return TestClient.status answer = 202
                    | None -> return false
                })

            Expect.hasLength (Regex.Matches(program.Errors, "Cannot accept connections")) 1 "said once"
        }

        testCaseTask
            "more clients than descriptors are for: those that are there are served, and the probes answer"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use folder = new TestFolder()
            use program = serveWithin 512 folder target []
            let! port = program.Says @"Proxy listening on port (\d+)"
            let! probes = program.Says @"Probes listening on port (\d+)"
            let! _ = program.Says @"Routes: 1 host "
            use! early = TestClient.Connect(int port)
            do! early.Send "GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n"
            let! _ = early.Answer()
            let! clients = Task.WhenAll [ for _ in 1..600 -> TestClient.Connect(int port) ]
            do! early.Send "GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n"
            let! answer = early.Answer()
            Expect.equal (TestClient.status answer) 202 "it is served"

            let! ready =
                TestClient.roundTrip
                    (int probes)
                    "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

            Expect.equal (TestClient.status ready) 200 "the probe answers"
            Expect.isFalse program.HasExited "it goes on"

            for client in clients do
                (client :> IDisposable).Dispose()
        }

        testCaseTask "a folder that may not be read any more keeps its routes, and is reported"
        <| fun () -> task {
            if Environment.UserName <> "root" || not (File.Exists "/usr/bin/setpriv") then
                skiptest "root, who may read everything, and setpriv are needed"

            use target = TestTarget.ok ()
            use folder = new TestFolder()
            folder.Write("all.yaml", Manifests.route "a.example" [ target.Port ])
            folder.Write("team/more.yaml", "")
            folder.Write("team-b/more.yaml", Manifests.clone "b" "b.example" "app-0")
            let inner = folder.At "team"

            let asNobody arguments =
                PublishedProgram.StartUnder(
                    "/usr/bin/setpriv",
                    [
                        "--reuid=65534"
                        "--regid=65534"
                        "--clear-groups"
                        "env"
                        "ALLOW_LOCAL_TARGETS=true"
                    ],
                    arguments
                )

            use program = asNobody ([ "--manifests"; folder.Path ] @ free)
            let! port = program.Says @"Proxy listening on port (\d+)"
            let! _ = program.Says @"Routes: 2 hosts"
            File.SetUnixFileMode(inner, UnixFileMode.None)
            let! _ = program.Says(Regex.Escape inner + ": cannot be read")
            folder.Delete "team-b/more.yaml"

            do!
                Waiting.until "the route of another folder to go with its file" (fun () -> task {
                    let! answer = TestClient.get (int port) "b.example"
                    return TestClient.status answer = 503
                })

            File.SetUnixFileMode(folder.Path, UnixFileMode.None)
            let! _ = program.Says(Regex.Escape folder.Path + ": cannot be read")
            let! answer = TestClient.get (int port) "a.example"
            Expect.equal (TestClient.status answer) 202 "its routes are in force"
            use check = asNobody [ "check"; folder.Path ]
            let! code = check.ExitCode()
            Expect.equal code 1 "check fails"
            Expect.stringContains (check.Output + check.Errors) "cannot be read" "and says why"

            // To be deleted.
            File.SetUnixFileMode(
                folder.Path,
                UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute
            )
        }

        testCaseTask "a folder that does not exist is a wrong setting"
        <| fun () -> task {
            let! code, _, errors = run ([ "--manifests=/does/not/exist" ] @ free) []
            Expect.equal code 2 "refused"
            Expect.stringContains errors "/does/not/exist" "named"
            let! code, _, _ = run [ "check"; "/does/not/exist" ] []
            Expect.equal code 2 "by check too"
        }

        testCaseTask
            "addresses that cannot be bound end it with exit code 1; it says which, why and what sets them"
        <| fun () -> task {
            use taken = new TcpListener(IPAddress.Loopback, 0)
            taken.Start()
            let address = string taken.LocalEndpoint
            use folder = new TestFolder()

            for names in
                [
                    [ "http-addr" ]
                    [ "probe-addr" ]
                    [ "status-addr" ]
                    [ "metrics-addr"; "http-addr" ]
                ] do
                let! code, _, errors =
                    run
                        ([ "--manifests"; folder.Path ]
                         @ free
                         @ [ for name in names -> $"--{name}={address}" ])
                        []

                Expect.equal code 1 "could not do it"

                for name in names do
                    let variable = name.ToUpperInvariant().Replace('-', '_')

                    Expect.stringContains
                        errors
                        $"k8sreq: cannot listen on {address} ({variable}): Address already in use. Choose another address with --{name} or {variable}; port 0 takes any free port"
                        "said"
        }

        testCaseTask "a second program on the machine is told of every port that the first one has"
        <| fun () -> task {
            let! folder, first, port = serve (Manifests.route "a.example" [ 1 ]) []
            use _ = folder
            use first = first

            let! others =
                [ "Probes"; "Metrics"; "Status page" ]
                |> List.map (fun name -> first.Says $@"{name} listening on port (\d+)")
                |> Task.WhenAll

            let ports = string port :: List.ofArray others

            let! code, _, errors =
                run
                    ([ "--manifests"; folder.Path ]
                     @ List.map2
                         (fun name port -> $"--{name}-addr=127.0.0.1:{port}")
                         [ "http"; "probe"; "metrics"; "status" ]
                         ports)
                    []

            Expect.equal code 1 "could not do it"

            for port in ports do
                Expect.stringContains errors $"k8sreq: cannot listen on 127.0.0.1:{port} (" "named"
        }

        testCaseTask "check prints the table and fails if anything is wrong"
        <| fun () -> task {
            use folder = new TestFolder()
            folder.Write("a.yaml", Manifests.route "a.example" [ 9001 ])
            let! code, output, _ = run [ "check"; folder.Path ] []
            Expect.equal code 0 "good"
            Expect.stringContains output "a.example  shop/copy-0   app-0    127.0.0.1:9001" "the route"
            folder.Write("b.yaml", Manifests.clone "lost" "b.example" "nobody")
            let! code, output, _ = run [ "check"; folder.Path ] []
            Expect.equal code 1 "wrong"
            Expect.stringContains output "Service shop/nobody does not exist" "why"
        }

        for folder, addresses in
            [
                "local", [ "127.0.0.1:9001"; "127.0.0.1:9002" ]
                "cluster", [ "clusterIP:80"; "clusterIP:80" ]
            ] do
            testCaseTask $"the examples are good: {folder}"
            <| fun () -> task {
                let! code, output, _ =
                    run [ "check"; Path.Combine(PublishedProgram.Root, "examples", folder) ] []

                Expect.equal code 0 output

                let routed =
                    output.Split '\n'
                    |> List.ofArray
                    |> List.filter _.StartsWith("webhooks.example")
                    |> List.map (fun line -> Array.last (line.TrimEnd().Split ' '))

                Expect.equal routed addresses "each with its address"
            }

        testCaseTask
            "it copies a request to two receivers, which print it, and SIGTERM ends it when all is delivered"
        <| fun () -> task {
            use first =
                PublishedProgram.Start [ "receive"; "--addr=127.0.0.1:0"; "--name=app-1" ]

            use second =
                PublishedProgram.Start [ "receive"; "--addr=127.0.0.1:0"; "--name=app-2" ]

            let! firstPort = first.Says @"app-1 receives on port (\d+)"
            let! secondPort = second.Says @"app-2 receives on port (\d+)"

            let! folder, program, port =
                serve (Manifests.route "a.example" [ int firstPort; int secondPort ]) []

            use _ = folder
            use program = program

            let! answer =
                TestClient.roundTrip
                    port
                    "POST /x%2Fy?z HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8\r\n\r\n{\"a\": 1}"

            Expect.equal answer.Start "HTTP/1.1 202 Accepted" "accepted"

            for receiver in [ first; second ] do
                let! line = receiver.Says @"(POST /x%2Fy\?z HTTP/1\.1)"
                Expect.isNotEmpty line "printed"
                let! _ = receiver.Says "(\"a\": 1)"
                ()

            program.Terminate()
            let! code = program.ExitCode()
            Expect.equal code 0 "ended as asked"
            Expect.stringContains program.Errors "SIGTERM: stopping" "said so"

            Expect.stringContains
                program.Errors
                "Stopped. 2 copies accepted: 2 delivered, 0 failed, 0 dropped; 0 retries"
                "with the totals"

            for receiver in [ first; second ] do
                receiver.Terminate()
                let! code = receiver.ExitCode()
                Expect.equal code 0 "ended as asked"
        }

        testCaseTask "SIGTERM under load: everything that was acknowledged is delivered"
        <| fun () -> task {
            use target = TestTarget.ok ()
            let! folder, program, port = serve (Manifests.route "a.example" [ target.Port ]) []
            use _ = folder
            use program = program
            let mutable acknowledged = 0

            let client () = task {
                let mutable isOpen = true
                use! client = TestClient.Connect port

                while isOpen do
                    try
                        do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"

                        match! client.TryAnswer() with
                        | Some answer when TestClient.status answer = 202 ->
                            System.Threading.Interlocked.Increment &acknowledged |> ignore
                        | _ -> isOpen <- false
                    with :? IOException ->
                        isOpen <- false
            }

            let clients = [ for _ in 1..8 -> client () ]
            do! Waiting.until "some load" (fun () -> Task.FromResult(acknowledged > 200))
            program.Terminate()
            let! _ = Task.WhenAll clients
            let! code = program.ExitCode()
            Expect.equal code 0 "ended as asked"
            // A client whose answer was cut off may have been served all the same: never fewer than acknowledged.
            Expect.isGreaterThanOrEqual target.Waiting acknowledged "none was lost"
        }

        testList "the first signal ends it, exit code 0, whatever it waits for" [
            for signal, name in [ 15, "SIGTERM"; 2, "SIGINT" ] do
                testCaseTask $"{name}, and an API server that never answers"
                <| fun () -> task {
                    use silent = new TcpListener(IPAddress.Loopback, 0)
                    silent.Start()
                    let! code = endedBefore signal (string silent.LocalEndpoint) "{token: any}" []
                    Expect.equal code 0 "ended as asked"
                }

            testCaseTask "an API server that is not there"
            <| fun () -> task {
                let! code =
                    endedBefore 15 $"127.0.0.1:{TestTarget.refusedPort ()}" "{token: any}" [
                        "--shutdown-delay=1h"
                        "--enable-leader-election"
                    ]

                Expect.equal code 0 "ended as asked"
            }

            testCaseTask "a program that is to give credentials, and does not"
            <| fun () -> task {
                use folder = new TestFolder()

                let asked = folder.At "asked"

                folder.Write("silent", $"#!/bin/sh\ntouch {asked}\nexec sleep 60 2>/dev/null\n")

                File.SetUnixFileMode(folder.At "silent", UnixFileMode.UserRead ||| UnixFileMode.UserExecute)

                let config =
                    kubeconfig
                        folder
                        "127.0.0.1:1"
                        $"""{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {folder.At "silent"}, interactiveMode: Never}}}}"""

                use program = PublishedProgram.Start(free, [ "KUBECONFIG", config; "PATH", "/bin" ])

                do! Waiting.until "the program to be asked" (fun () -> Task.FromResult(File.Exists asked))

                program.Terminate()
                let! code = program.ExitCode()
                Expect.equal code 0 "ended as asked"
            }
        ]

        if K8sReq.Proxy.Transport.hasLoops then
            for setting, count in [ "auto", max 1 (Environment.ProcessorCount / 2); "3", 3; "0", 0 ] do
                testCaseTask $"EVENT_LOOPS={setting} gives as many loops as the documents say"
                <| fun () -> task {
                    let! folder, program, _ = serve "" [ $"--event-loops={setting}" ]
                    use _ = folder
                    use program = program

                    let loops =
                        Directory.GetDirectories $"/proc/{program.Id}/task"
                        |> Array.filter (fun thread ->
                            (File.ReadAllText(Path.Combine(thread, "comm"))).StartsWith "loop ")

                    Expect.equal loops.Length count "threads"
                }

        testCaseTask "a second signal ends it at once"
        <| fun () -> task {
            use target = TestTarget.silent ()
            let! folder, program, port = serve (Manifests.route "a.example" [ target.Port ]) []
            use _ = folder
            use program = program
            let! _ = TestClient.roundTrip port "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
            let! _ = target.Next()
            program.Terminate()
            let! _ = program.Says "(SIGTERM: stopping)"
            Expect.isFalse program.HasExited "it waits for the copy"
            // One that comes together with the first counts as the same.
            do!
                Waiting.until "its end" (fun () ->
                    if not program.HasExited then
                        program.Terminate()

                    Task.FromResult program.HasExited)

            let! code = program.ExitCode()
            Expect.notEqual code 0 "not as asked the first time"
        }

        testCaseTask "a signal that comes twice at once, to the process and to its group, is one"
        <| fun () -> task {
            let! folder, program, _ = serve (Manifests.route "a.example" [ 1 ]) []
            use _ = folder
            use program = program
            let! _ = program.Says @"Routes: (\d+) hosts?"

            for signal in [ 15; 15; 2 ] do
                if not program.HasExited then
                    program.Signal signal

            let! code = program.ExitCode()
            Expect.equal code 0 "ended as asked"
            Expect.stringContains program.Errors "Stopped. 0 copies accepted" "to its end"
        }

        testCaseTask "a user without a name and a home folder can run it"
        <| fun () -> task {
            let setpriv = "/usr/bin/setpriv"

            if not (File.Exists setpriv) || System.Environment.UserName <> "root" then
                skiptest "needs root and setpriv, to become another user"

            use folder = new TestFolder()
            folder.Write("all.yaml", Manifests.route "a.example" [ 1 ])

            use program =
                PublishedProgram.StartUnder(
                    setpriv,
                    [ "--reuid=54321"; "--regid=54321"; "--clear-groups"; "env"; "-i" ],
                    [ "--manifests"; folder.Path ] @ free
                )

            let! _ = program.Says @"Routes: (\d+) hosts?"
            let! port = program.Says @"Probes listening on port (\d+)"

            let! ready =
                TestClient.roundTrip (int port) "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

            Expect.equal (TestClient.status ready) 200 "ready"
            program.Terminate()
            let! code = program.ExitCode()
            Expect.equal code 0 "ended as asked"
        }

        for closed in [ "<&- >&- 2>&-"; ">&- 2>&-"; "<&- >&-"; "2>&-" ] do
            testCaseTask $"it serves with standard streams closed at the start ({closed})"
            <| fun () -> task {
                use target = TestTarget.ok ()
                use folder = new TestFolder()
                folder.Write("all.yaml", Manifests.route "a.example" [ target.Port ])
                // The program cannot say which ports it has got.
                let port, probePort = HeldPort.take (), HeldPort.take ()

                use program =
                    PublishedProgram.StartUnder(
                        "/bin/sh",
                        [ "-c"; $"exec \"$@\" {closed}"; "sh" ],
                        [
                            "--manifests"
                            folder.Path
                            $"--http-addr=127.0.0.1:{port}"
                            $"--probe-addr=127.0.0.1:{probePort}"
                            "--metrics-addr=127.0.0.1:0"
                            "--status-addr=127.0.0.1:0"
                        ]
                    )

                do!
                    Waiting.until "readiness" (fun () -> task {
                        try
                            let! ready =
                                TestClient.roundTrip
                                    probePort
                                    "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

                            return TestClient.status ready = 200
                        with :? SocketException when not program.HasExited ->
                            return false
                    })

                for n in 1..3 do
                    let! answer =
                        TestClient.roundTrip port $"GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n"

                    Expect.equal (TestClient.status answer) 202 "accepted"
                    let! copy = target.Next()
                    Expect.equal copy.Start $"GET /{n} HTTP/1.1" "copied"

                program.Terminate()
                let! code = program.ExitCode()
                Expect.equal code 0 "ended as asked"
            }

        testCaseTask "commands end with standard streams closed at the start"
        <| fun () -> task {
            for arguments, expected in [ [ "--version" ], 0; [ "check"; "-" ], 1; [ "--wrong" ], 2 ] do
                use program =
                    PublishedProgram.StartUnder(
                        "/bin/sh",
                        [ "-c"; "exec \"$@\" <&- >&- 2>&-"; "sh" ],
                        arguments
                    )

                let! code = program.ExitCode()
                Expect.equal code expected $"{arguments}"
        }

        testCaseTask "HTTP_PROXY and its like are ignored"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use captor = TestTarget.ok ()
            use folder = new TestFolder()
            folder.Write("all.yaml", Manifests.route "a.example" [ target.Port ])
            let captorUrl = $"http://127.0.0.1:{captor.Port}"

            use program =
                PublishedProgram.Start(
                    [ "--manifests"; folder.Path ] @ free,
                    [ "HTTP_PROXY", captorUrl; "http_proxy", captorUrl; "ALL_PROXY", captorUrl ]
                )

            let! port = program.Says @"Proxy listening on port (\d+)"

            let! answer =
                TestClient.roundTrip (int port) "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"

            Expect.equal (TestClient.status answer) 202 "accepted"
            let! _ = target.Next()
            Expect.equal captor.Connections 0 "nobody asked the proxy"
        }
    ]
