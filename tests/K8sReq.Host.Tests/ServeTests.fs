module K8sReq.Host.Tests.ServeTests

open System
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Host.Commands
open K8sReq.Host.Sources

let private get port path = task {
    let! answer =
        TestClient.roundTrip port $"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    return TestClient.status answer
}

let tests =
    testList "serving" [
        testCaseTask "the probes answer on their own port, whatever host is asked for"
        <| fun () -> task {
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ 1 ])
            let! live = get proxy.ProbePort "/healthz"
            let! ready = get proxy.ProbePort "/readyz"
            let! other = get proxy.ProbePort "/"

            let! onProxy =
                TestClient.roundTrip
                    proxy.Port
                    $"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{proxy.ProbePort}\r\n\r\n"

            Expect.equal (live, ready, other) (200, 200, 404) "the probes"
            Expect.equal (TestClient.status onProxy) 503 "and not on the proxy's"
        }

        testCaseTask "a port that is taken is an error that says so, and nothing is left behind"
        <| fun () -> task {
            use taken = new TcpListener(IPAddress.Loopback, 0)
            taken.Start()
            let port = (taken.LocalEndpoint :?> IPEndPoint).Port
            use folder = new TestFolder()

            match
                Settings.parse Map.empty [
                    $"--manifests={folder.Path}"
                    "--probe-addr=127.0.0.1:0"
                    "--metrics-addr=127.0.0.1:0"
                    "--status-addr=127.0.0.1:0"
                    $"--http-addr=127.0.0.1:{port}"
                ]
            with
            | Error errors -> failtest $"{errors}"
            | Ok settings ->
                match!
                    Serve.start
                        (new LogKeeper())
                        TimeProvider.System
                        (FolderSource.create (new LogKeeper()) TimeProvider.System folder.Path)
                        "test"
                        "test-0"
                        (TelemetrySettings.ofEnvironment Map.empty)
                        settings
                with
                | Ok _ -> failtest "started"
                | Error error ->
                    Expect.equal error.Address settings.HttpAddr "which address"
                    Expect.stringContains error.Reason "in use" "why"
        }

        testCaseTask "stopping waits for the copies that are under way, and is not ready meanwhile"
        <| fun () -> task {
            let answer = TaskCompletionSource()

            use target =
                new TestTarget(fun keep stream reader -> task {
                    let! message = reader.Read()
                    Option.iter keep message
                    do! answer.Task
                    do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
                })

            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            let! accepted =
                TestClient.roundTrip proxy.Port "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"

            Expect.equal (TestClient.status accepted) 202 "accepted"
            let! _ = target.Next()
            let stopping = proxy.Stop()

            do!
                Waiting.until "not ready" (fun () -> task {
                    let! status = get proxy.ProbePort "/readyz"
                    return status = 503
                })

            let! live = get proxy.ProbePort "/healthz"
            Expect.equal live 200 "but alive"
            Expect.isFalse stopping.IsCompleted "it waits for the copy"
            answer.SetResult()
            let! totals = stopping |> Waiting.within "the end"
            Expect.equal (totals.Accepted, totals.Delivered) (1L, 1L) "delivered"
        }

        testCaseTask "told to stop, it goes on serving for the shutdown delay, unready"
        <| fun () -> task {
            use target = TestTarget.ok ()
            let clock = TestClock()
            let delay = TimeSpan.FromSeconds 5.0

            use! proxy =
                TestProxy.Start(
                    Manifests.route "a.example" [ target.Port ],
                    (fun settings -> { settings with ShutdownDelay = delay }),
                    clock
                )

            let stopping = proxy.Stop()
            do! clock.TimerStarted delay
            let! ready = get proxy.ProbePort "/readyz"
            Expect.equal ready 503 "unready at once"

            let! answer =
                TestClient.roundTrip proxy.Port "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"

            Expect.equal (TestClient.status answer) 202 "and still serving"
            let! _ = target.Next()
            Expect.isFalse stopping.IsCompleted "it has not stopped"
            clock.Advance delay
            let! totals = stopping |> Waiting.within "the end"
            Expect.equal totals.Delivered 1L "what came meanwhile is delivered"
        }

        testCaseTask "stopping does not wait for connections that have sent nothing"
        <| fun () -> task {
            let clock = TestClock()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ 1 ], clock = clock)
            use! idle = TestClient.Connect proxy.Port
            use! begun = TestClient.Connect proxy.Port
            do! begun.Send "P"
            // An answer shows that connections are being served.
            let! _ = TestClient.roundTrip proxy.Port "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n"
            // The clock stands still: whatever waits for it waits for ever.
            let! _ = proxy.Stop() |> Waiting.within "the end"
            let! isClosed = idle.IsClosed()
            let! isClosedToo = begun.IsClosed()
            Expect.isTrue (isClosed && isClosedToo) "both are closed"
        }

        testCaseTask "stopping gives up on copies that do not end, and counts them as dropped"
        <| fun () -> task {
            use target = TestTarget.silent ()
            let clock = TestClock()

            use! proxy =
                TestProxy.Start(Manifests.route "a.example" [ target.Port ], clock = clock)

            let! accepted =
                TestClient.roundTrip proxy.Port "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"

            Expect.equal (TestClient.status accepted) 202 "accepted"
            let! _ = target.Next()
            let stopping = proxy.Stop()
            do! clock.TimerStarted(TimeSpan.FromSeconds 25.0)
            clock.Advance(TimeSpan.FromSeconds 25.0)
            let! totals = stopping |> Waiting.within "the end"

            Expect.equal
                (totals.Accepted, totals.Delivered, totals.Dropped, totals.Pending)
                (1L, 0L, 1L, 0L)
                "accounted for"

            Expect.exists
                proxy.Log
                (fun line ->
                    line.Contains "Given up for shop/copy-0 at 127.0.0.1:"
                    && line.Contains ": 1 copies")
                "and named by target"
        }
    ]
