module K8sReq.Host.Tests.ServeTests

open System
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Host.Commands
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

let private get port path = task {
    let! answer =
        TestClient.roundTrip port $"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    return TestClient.status answer
}

/// Routes that are known when the test says so.
[<Sealed>]
type private RoutesOnDemand() =
    let asked = TaskCompletionSource<ClusterEvent list -> unit>()
    member _.IsAsked = asked.Task.IsCompleted

    /// All there is from now on.
    member _.Post(manifests: string list) =
        let contents =
            manifests
            |> List.collect (fun text ->
                match ManifestFile.parse RouteKinds.kinds "all.yaml" text with
                | Ok(manifests, _) -> manifests
                | Error problem -> failtest (ManifestProblem.describe problem))

        asked.Task.Result(FolderContent.ofManifests contents [] |> FolderContent.toEvents RouteKinds.all)

    member _.Source clock : RouteSource = {
        Scopes = Set.singleton WatchScope.AllNamespaces
        Metrics = SourceMetrics clock
        Published = ignore
        Run =
            fun post _ ->
                asked.SetResult post
                []
    }

let private launchWith
    (findSource: unit -> Result<RouteSource, string>)
    (clock: TimeProvider)
    (arguments: string list)
    : Serve.Launched =
    let settings =
        Settings.parse
            Map.empty
            ([
                for name in [ "http"; "probe"; "metrics"; "status" ] do
                    $"--{name}-addr=127.0.0.1:0"
                "--allow-local-targets=true"
             ]
             @ arguments)

    match settings with
    | Error errors -> failtest $"{errors}"
    | Ok settings ->
        Serve.launch
            (new LogKeeper())
            clock
            findSource
            "test"
            "test-0"
            (TelemetrySettings.ofEnvironment Map.empty)
            settings

let private startWith (source: RoutesOnDemand) (clock: TimeProvider) (arguments: string list) =
    launchWith (fun () -> Ok(source.Source clock)) clock arguments

let private running (launched: Serve.Launched) : Task<Serve.Running> = task {
    match! launched.Started with
    | Ok running -> return running
    | Error error -> return failtest $"{error}"
}

let private stop (launched: Serve.Launched) : Task<CopyTotals> = task {
    launched.Stop()
    let! struct (totals, exitCode) = launched.Ended |> Waiting.within "the end"
    Expect.equal exitCode 0 "stopped as asked"
    return totals
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

        testCaseTask "every port that is taken is reported, with what sets it, and nothing is left behind"
        <| fun () -> task {
            use statusPort = new TcpListener(IPAddress.Loopback, 0)
            use proxyPort = new TcpListener(IPAddress.Loopback, 0)
            let taken = [ "STATUS_ADDR", statusPort; "HTTP_ADDR", proxyPort ]

            for _, listener in taken do
                listener.Start()

            let source = RoutesOnDemand()

            let launched =
                startWith source TimeProvider.System [
                    for name, listener in taken ->
                        let flag = "--" + name.ToLowerInvariant().Replace('_', '-')
                        $"{flag}={listener.LocalEndpoint}"
                ]

            match! launched.Started with
            | Ok _
            | Error(Serve.StartError.NoSource _) -> failtest "started"
            | Error(Serve.StartError.Unbound unbound) ->
                Expect.equal
                    (unbound
                     |> List.map (fun address -> address.Setting, string address.Error.Address))
                    (taken |> List.map (fun (name, listener) -> name, string listener.LocalEndpoint))
                    "both"

                for address in unbound do
                    Expect.stringContains address.Error.Reason "in use" "why"

            Expect.isFalse source.IsAsked "routes are not asked for before every port is bound"
        }

        testCaseTask
            "told to stop while it looks for its source, it does not wait for that; nothing is left behind"
        <| fun () -> task {
            let source = RoutesOnDemand()
            let found = TaskCompletionSource<RouteSource>()

            let launched =
                launchWith (fun () -> Ok found.Task.Result) TimeProvider.System [
                    "--graceful-shutdown-timeout=30s"
                ]

            let! totals = stop launched
            Expect.equal totals CopyTotals.zero "nothing was accepted"
            // The source is there after all: every port is bound, and given back.
            found.SetResult(source.Source TimeProvider.System)
            let! running = running launched

            do!
                Waiting.until "the port to be free" (fun () -> task {
                    try
                        use client = new TcpClient()
                        do! client.ConnectAsync(IPAddress.Loopback, running.ProxyPort)
                        return false
                    with :? SocketException ->
                        return true
                })

            Expect.isFalse source.IsAsked "and no routes are asked for"
        }

        testCaseTask
            "every port is bound before the routes are known; the program is not ready until they are"
        <| fun () -> task {
            let source = RoutesOnDemand()
            let launched = startWith source TimeProvider.System []
            let! running = running launched
            let! live = get running.ProbePort "/healthz"
            let! ready = get running.ProbePort "/readyz"
            Expect.equal (live, ready) (200, 503) "alive, and not ready"
            use! client = TestClient.Connect running.ProxyPort
            source.Post []
            do! running.RoutesKnown.WaitAsync Waiting.patience
            let! ready = get running.ProbePort "/readyz"
            Expect.equal ready 200 "ready"
            do! client.Send "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) 503 "there is no route"
            let! _ = stop launched
            ()
        }

        testCaseTask "a request that comes before the routes are known is answered by them"
        <| fun () -> task {
            use target = TestTarget.ok ()
            let clock = TestClock()
            let source = RoutesOnDemand()
            let launched = startWith source clock []
            let! running = running launched
            use! client = TestClient.Connect running.ProxyPort
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi"
            do! clock.TimerStarted(TimeSpan.FromSeconds 30.0)
            source.Post [ Manifests.route "a.example" [ target.Port ] ]
            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) 202 "accepted"
            let! copy = target.Next()
            Expect.equal copy.Text "hi" "copied"
            let! totals = stop launched
            Expect.equal totals.Delivered 1L "delivered"
        }

        testCaseTask "a request waits for the routes no longer than the read timeout"
        <| fun () -> task {
            let clock = TestClock()
            let launched = startWith (RoutesOnDemand()) clock [ "--proxy-read-timeout=7s" ]
            let! running = running launched
            use! client = TestClient.Connect running.ProxyPort
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi"
            do! clock.TimerStarted(TimeSpan.FromSeconds 7.0)
            clock.Advance(TimeSpan.FromSeconds 7.0)
            let! answer = client.Answer()

            Expect.equal
                (TestClient.status answer, answer.Values "Retry-After", answer.Values "Connection")
                (503, [ "1" ], [ "close" ])
                "later, and not on this connection: its body has not been read"

            Expect.stringContains answer.Text "routes are not known yet" "why"

            let! isClosed = client.IsClosed()
            Expect.isTrue isClosed "closed"
            let! _ = stop launched
            ()
        }

        testCaseTask "told to stop before the routes are known, it ends at once: no request waits any longer"
        <| fun () -> task {
            // The clock stands still: whatever waits for it waits for ever.
            let clock = TestClock()
            let launched = startWith (RoutesOnDemand()) clock [ "--shutdown-delay=5s" ]
            let! running = running launched
            use! client = TestClient.Connect running.ProxyPort
            do! client.Send "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
            do! clock.TimerStarted(TimeSpan.FromSeconds 30.0)

            let! totals = stop launched

            Expect.equal totals CopyTotals.zero "nothing was accepted"
            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) 503 "refused"
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
                (fun line -> line.Contains "Shutdown timeout: 1 copy for shop/copy-0 (127.0.0.1:")
                "and named by target"
        }
    ]
