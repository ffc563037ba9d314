namespace K8sReq.TestKit

open System
open System.Net.Http
open System.Threading.Tasks
open K8sReq.TestKit.ClusterObjects

/// The published program in a cluster of one replica, with something to tell in every family of metrics: copies that
/// were delivered, that have failed after a retry, and that wait; a lease, a status that was written, and a watch that
/// had to begin again. Nothing changes any more until somebody sends a request.
[<Sealed>]
type BusyProgram private (server: ApiServer, port: int, metricsPort: int, discard: unit -> unit) =
    static let client = new HttpClient()

    static let get (port: int) (accept: string) : Task<string> = task {
        use request =
            new HttpRequestMessage(HttpMethod.Get, $"http://127.0.0.1:{port}/metrics")

        request.Headers.TryAddWithoutValidation("Accept", accept) |> ignore
        use! answer = client.SendAsync request
        return! answer.Content.ReadAsStringAsync()
    }

    static let retrying (clone: string) =
        clone.Replace("\"spec\":{", "\"spec\":{\"delivery\":{\"retry\":1,\"backoffDelay\":\"1ms\"},")

    /// The requests that it has got once it is started; each has a copy for each of the three RequestClones.
    static member Requests = 3

    static member Start() : Task<BusyProgram> = task {
        let! server = ApiServer.Create()
        server.Token <- Some "token"
        let folder = new TestFolder()
        let good = TestTarget.ok ()

        let bad =
            TestTarget.answering "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

        let silent = TestTarget.silent ()

        for name, target: TestTarget in [ "good", good; "bad", bad; "silent", silent ] do
            server.Put(service "shop" name "127.0.0.1" target.Port)
            server.Put(clone "shop" name "a.example" name "http" |> retrying)

        let program =
            PublishedProgram.Start(
                [
                    "--http-addr=127.0.0.1:0"
                    "--probe-addr=127.0.0.1:0"
                    "--metrics-addr=127.0.0.1:0"
                    "--status-addr=127.0.0.1:0"
                    "--enable-leader-election"
                    "--leader-election-namespace=shop"
                    // With its series, and nothing in it.
                    "--journal"
                    folder.At "journal"
                    "--durability=memory"
                    // So that copies have to wait behind one that the silent target does not answer.
                    "--max-concurrent-requests=1"
                ],
                [ "KUBECONFIG", server.Kubeconfig folder.Path; "POD_NAME", "replica-1" ]
            )

        let discard () =
            (program :> IDisposable).Dispose()

            for target in [ good; bad; silent ] do
                (target :> IDisposable).Dispose()

            (server :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()

        try
            let! metricsPort = program.Says @"Metrics listening on port (\d+)"
            let! port = program.Says @"Proxy listening on port (\d+)"
            let busy = new BusyProgram(server, int port, int metricsPort, discard)
            do! busy.BecomeBusy()
            return busy
        with error ->
            discard ()
            return raise error
    }

    member private busy.BecomeBusy() : Task<unit> = task {
        for _ in 1 .. BusyProgram.Requests do
            do! busy.Send()

        do! Waiting.until "a watch to end" (fun () -> Task.FromResult(server.CloseWatches() > 0))

        let settled = [
            "k8sreq_copies_total{namespace=\"shop\",name=\"good\",outcome=\"delivered\"} 3\n"
            "k8sreq_copies_total{namespace=\"shop\",name=\"bad\",outcome=\"failed\"} 3\n"
            "k8sreq_queue_items{namespace=\"shop\",name=\"silent\"} 2\n"
            "k8sreq_leader 1\n"
            "k8sreq_watch_restarts_total{"
            "k8sreq_status_writes_total{result=\"written\"} 3\n"
        ]

        do!
            Waiting.until "all of this to be counted" (fun () -> task {
                let! text = busy.Prometheus()
                return settled |> List.forall text.Contains
            })
    }

    member _.MetricsPort = metricsPort

    /// A request more.
    member _.Send() : Task<unit> = task {
        let! answer = TestClient.get port "a.example"

        if TestClient.status answer <> 202 then
            failwith $"answered {answer.Start}"
    }

    /// What it tells in Prometheus' text format.
    member _.Prometheus() : Task<string> = get metricsPort "text/plain"

    /// What it tells as OpenMetrics.
    member _.OpenMetrics() : Task<string> =
        get metricsPort "application/openmetrics-text; version=1.0.0"

    interface IDisposable with
        member _.Dispose() = discard ()
