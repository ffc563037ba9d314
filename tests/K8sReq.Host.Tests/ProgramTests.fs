/// The published program as users start it.
module K8sReq.Host.Tests.ProgramTests

open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto

let private run arguments variables = task {
    use program = PublishedProgram.Start(arguments, variables)
    let! code = program.ExitCode()
    return code, program.Output, program.Errors
}

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
                    "k8sreq: --nope is no flag of this program; --help lists them"
                    "k8sreq: --http-addr is \"8080\"; accepted is [HOST]:PORT, such as :8080 or 127.0.0.1:8080"
                    "k8sreq: PROXY_READ_TIMEOUT is \"soon\"; accepted is a duration of 1ms or more, such as 30s, 1m30s or 500ms"
                |]
                "each on a line"
        }

        testCaseTask "a folder that does not exist is a wrong setting"
        <| fun () -> task {
            let! code, _, errors = run ([ "--manifests=/does/not/exist" ] @ free) []
            Expect.equal code 2 "refused"
            Expect.stringContains errors "/does/not/exist" "named"
            let! code, _, _ = run [ "check"; "/does/not/exist" ] []
            Expect.equal code 2 "by check too"
        }

        testCaseTask "an address that cannot be bound ends it with exit code 1 and says which and why"
        <| fun () -> task {
            use taken = new TcpListener(IPAddress.Loopback, 0)
            taken.Start()
            let port = (taken.LocalEndpoint :?> IPEndPoint).Port
            use folder = new TestFolder()

            let onPort name =
                [ "--manifests"; folder.Path ] @ free @ [ $"--{name}=127.0.0.1:{port}" ]

            for flag, variable in [ "http-addr", "HTTP_ADDR"; "probe-addr", "PROBE_ADDR" ] do
                let! code, _, errors = run (onPort flag) []
                Expect.equal code 1 flag

                Expect.stringContains
                    errors
                    $"k8sreq: cannot listen on 127.0.0.1:{port} ({variable}): Address already in use"
                    "said"
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

        testCaseTask "the examples are good"
        <| fun () -> task {
            let! code, output, _ =
                run [ "check"; Path.Combine(PublishedProgram.Root, "examples") ] []

            Expect.equal code 0 output
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
                "Stopped. 2 copies were accepted: 2 delivered, 0 failed, 0 dropped; 0 attempts were retries"
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
            program.Terminate()
            let! code = program.ExitCode()
            Expect.notEqual code 0 "not as asked the first time"
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
