/// Durable delivery by the published program: what it acknowledged is delivered, whatever ended the process.
module K8sReq.Host.Tests.JournalTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

/// Ports that nobody uses.
let free = [
    "--http-addr=127.0.0.1:0"
    "--probe-addr=127.0.0.1:0"
    "--metrics-addr=127.0.0.1:0"
    "--status-addr=127.0.0.1:0"
]

/// A RequestClone of the host a.example that never gives up, and its Service.
let route (name: string) (port: int) (more: string) =
    let delivery =
        $", delivery: {{retry: 100, backoffPolicy: linear, backoffDelay: 100ms, backoffMax: 300ms{more}}}}}\n"

    Manifests.service name port
    + (Manifests.clone name "a.example" name).Replace("}}\n", "}" + delivery)

/// The program with a journal in the folder, over the manifests in it.
let start (folder: TestFolder) (more: string list) = task {
    let program =
        PublishedProgram.Start(
            [ "--manifests"; folder.At "routes"; "--journal"; folder.At "journal" ]
            @ free
            @ more
        )

    let! proxy = program.Says @"Proxy listening on port (\d+)"
    let! metrics = program.Says @"Metrics listening on port (\d+)"
    let! _ = program.Says @"Routes: \d+"
    return program, int proxy, int metrics
}

/// Sends one request with this number as its body, and gives the status; None if the connection broke.
let post (port: int) (number: int) : Task<int option> = task {
    try
        let body = string number

        let! answer =
            TestClient.roundTrip
                port
                $"POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n{body}"

        return Some(TestClient.status answer)
    with _ ->
        return None
}

/// Sends requests with these numbers, each of which has to be accepted.
let accepts (port: int) (numbers: int list) : Task<unit> = task {
    for number in numbers do
        let! status = post port number
        Expect.equal status (Some 202) "accepted"
}

let journalIsOpen (program: PublishedProgram) =
    program.Says @"Journal .* opened: (\d+)"

/// Every number that comes to a target, until all of these have come.
let receives (target: TestTarget) (numbers: Set<int>) : Task<int list> = task {
    let seen = ResizeArray<int>()

    while not (numbers.IsSubsetOf(Set.ofSeq seen)) do
        let! request = target.Next()
        seen.Add(int request.Text)

    return List.ofSeq seen
}

let total (series: Map<string, float>) (name: string) =
    series
    |> Map.toSeq
    |> Seq.filter (fun (key, _) -> key.StartsWith name)
    |> Seq.sumBy snd

/// accepted + recovered + replayed = delivered + failed + dropped + expired + pending
let isBalanced (metricsPort: int) = task {
    let! text = Scrape.text metricsPort
    let series = Scrape.series text
    let accepted = total series "k8sreq_copies_accepted_total"
    let recovered = total series "k8sreq_copies_recovered_total"
    let ended = total series "k8sreq_copies_total"
    let pending = total series "k8sreq_copies_pending"
    let replayed = total series "k8sreq_copies_replayed_total"
    Expect.equal (accepted + recovered + replayed) (ended + pending) "the law"
    return recovered, pending
}

let nothingIsPending (metricsPort: int) : Task<unit> =
    Waiting.until "nothing to be pending" (fun () -> task {
        let! _, pending = isBalanced metricsPort
        return pending = 0.0
    })

let tests =
    testSequenced
    <| testList "the journal" [
        testCaseTask
            "kill -9 under load: what was acknowledged comes to every target, also to one that was away"
        <| fun () -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            let away = TestTarget.refusedPort ()

            folder.Write("routes/all.yaml", route "good" good.Port "" + route "away" away "")

            let acknowledged = ConcurrentQueue<int>()

            do! task {
                let! program, port, _ = start folder []
                use program = program
                let! _ = journalIsOpen program
                let mutable last = 0

                let send () : Task = task {
                    while not program.HasExited do
                        let number = Interlocked.Increment &last
                        let! status = post port number

                        if status = Some 202 then
                            acknowledged.Enqueue number
                }

                let senders = [ for _ in 1..4 -> send () ]
                do! Waiting.until "some load" (fun () -> Task.FromResult(acknowledged.Count > 200))
                program.Kill()
                do! Task.WhenAll senders
            }

            let acknowledged = Set.ofSeq acknowledged
            use late = TestTarget.at away
            let! program, _, metrics = start folder []
            use program = program
            let! recovered = journalIsOpen program
            Expect.isGreaterThan (int recovered) 0 "found"
            Expect.isFalse (program.Errors.Contains "was damaged") "a write that was begun is no damage"
            let! _ = receives late acknowledged |> Waiting.within "every acknowledged request"

            let! _ = receives good acknowledged |> Waiting.within "every acknowledged request"

            do! nothingIsPending metrics
        }

        testCaseTask
            "a clean stop does not wait for what is in the journal; after the next start it is sent once"
        <| fun () -> task {
            use folder = new TestFolder()
            let away = TestTarget.refusedPort ()
            folder.Write("routes/all.yaml", route "away" away "")
            let! program, port, _ = start folder [ "--graceful-shutdown-timeout=60s" ]
            use program = program
            let! _ = journalIsOpen program

            do! accepts port [ 1..20 ]

            program.Terminate()
            let! code = program.ExitCode()
            Expect.equal code 0 "stopped as asked"
            use late = TestTarget.at away
            let! program, _, _ = start folder []
            use program = program
            let! recovered = journalIsOpen program
            Expect.equal recovered "20" "all of them"
            let! seen = receives late (set [ 1..20 ]) |> Waiting.within "every request"
            Expect.equal (List.sort seen) [ 1..20 ] "each once"
            program.Terminate()
            let! _ = program.ExitCode()
            let! program, _, _ = start folder []
            use program = program
            let! recovered = journalIsOpen program
            Expect.equal recovered "0" "nothing is left"
        }

        testCaseTask
            "a clean stop does not wait for a target that hangs: the copy on its way is kept, and sent again"
        <| fun () -> task {
            use folder = new TestFolder()
            let hanging = TestTarget.silent ()
            folder.Write("routes/all.yaml", route "hanging" hanging.Port "")
            let! program, port, _ = start folder [ "--graceful-shutdown-timeout=600s" ]
            use program = program
            let! _ = journalIsOpen program
            let! status = post port 1
            Expect.equal status (Some 202) "accepted"
            let! _ = hanging.Next() |> Waiting.within "its first attempt"
            program.Terminate()
            // Within the patience of a test, not of the timeout.
            let! code = program.ExitCode()
            Expect.equal code 0 "stopped as asked"
            let targetPort = hanging.Port
            (hanging :> IDisposable).Dispose()
            use late = TestTarget.at targetPort
            let! program, _, metrics = start folder []
            use _ = program
            let! _ = receives late (set [ 1 ]) |> Waiting.within "the copy"
            do! nothingIsPending metrics
        }

        testCaseTask "what a target's queue has no room for waits on disk, and none of it is dropped"
        <| fun () -> task {
            use folder = new TestFolder()
            let away = TestTarget.refusedPort ()
            folder.Write("routes/all.yaml", route "away" away "")

            let! program, port, metrics =
                start folder [ "--queue-bytes=3000"; "--max-concurrent-requests=2" ]

            use program = program
            let! _ = journalIsOpen program

            do! accepts port [ 1..60 ]

            let! text = Scrape.text metrics
            let series = Scrape.series text
            Expect.isGreaterThan (total series "k8sreq_backlog_items") 10.0 "on disk"
            use late = TestTarget.at away
            let! seen = receives late (set [ 1..60 ]) |> Waiting.within "every request"
            Expect.equal (List.sort seen) [ 1..60 ] "each once"

            do! nothingIsPending metrics

            let! text = Scrape.text metrics
            let series = Scrape.series text

            let dropped =
                series
                |> Map.filter (fun key _ -> key.Contains "dropped")
                |> Map.values
                |> Seq.sum

            Expect.equal dropped 0.0 "dropped"
        }

        testCaseTask
            "a journal that is full: 503 for those who want all or nothing, and a target in memory goes on"
        <| fun () -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            let away = TestTarget.refusedPort ()

            folder.Write(
                "routes/all.yaml",
                route "away" away ", whenFull: Refuse"
                + (route "memory" good.Port ", durability: Memory").Replace("a.example", "b.example")
            )

            let! program, port, _ = start folder [ "--journal-bytes=1048576" ]
            use program = program
            let! _ = journalIsOpen program
            let body = String('x', 100_000)

            let send host =
                TestClient.roundTrip
                    port
                    $"POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n{body}"

            let mutable statuses = []

            for _ in 1..8 do
                let! answer = send "a.example"
                statuses <- statuses @ [ TestClient.status answer ]

            // Half of a megabyte is the share of one.
            Expect.equal statuses [ 202; 202; 202; 202; 202; 503; 503; 503 ] "full"
            let! answer = send "a.example"
            Expect.isNonEmpty (answer.Values "Retry-After") "later"
            let! answer = send "b.example"
            Expect.equal (TestClient.status answer) 202 "in memory"
            let! copy = good.Next()
            Expect.equal copy.Body.Length 100_000 "delivered"
        }

        testCaseTask
            "a file that cannot grow: 503 and nothing copied, told once; what is in memory goes on, and so does the process"
        <| fun () -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            let away = TestTarget.refusedPort ()

            folder.Write(
                "routes/all.yaml",
                route "away" away ""
                + (route "memory" good.Port ", durability: Memory").Replace("a.example", "b.example")
            )

            use program =
                PublishedProgram.StartUnder(
                    "/bin/sh",
                    // In blocks of 512 bytes: the file and its log may have a megabyte each. What the runtime maps twice
                    // would count as a file.
                    [ "-c"; "ulimit -f 2048; DOTNET_EnableWriteXorExecute=0 exec \"$@\""; "sh" ],
                    [ "--manifests"; folder.At "routes"; "--journal"; folder.At "journal" ] @ free
                )

            let! port = program.Says @"Proxy listening on port (\d+)"
            let port = int port
            let! _ = program.Says @"Routes: \d+"
            let! _ = journalIsOpen program
            let body = String('x', 100_000)

            let send host =
                TestClient.roundTrip
                    port
                    $"POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n{body}"

            let statuses = ResizeArray<int>()

            // The file has room for about ten of them.
            while statuses.Count < 100 && not (statuses.Contains 503) do
                let! answer = send "a.example"
                statuses.Add(TestClient.status answer)

            Expect.isTrue (statuses.Contains 202) "as long as there was room"
            Expect.isTrue (statuses.Contains 503) "and then not"
            let! _ = program.Says "Journal unavailable: "
            let! answer = send "b.example"
            Expect.equal (TestClient.status answer) 202 "in memory"
            let! _ = good.Next()
            Expect.isFalse program.HasExited "it lives"
        }

        testCaseTask
            "a folder that another program has: not ready, told once, and what is in memory is served"
        <| fun () -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()

            folder.Write(
                "routes/all.yaml",
                route "durable" good.Port ""
                + (route "memory" good.Port ", durability: Memory").Replace("a.example", "b.example")
            )

            let! first, _, _ = start folder []
            use first = first
            let! _ = journalIsOpen first
            let! second, port, _ = start folder []
            use second = second
            let! _ = second.Says "Journal unavailable: .* is in use by another program"
            let! status = post port 1
            Expect.equal status (Some 503) "nothing can be kept"

            let! answer =
                TestClient.roundTrip port "GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n"

            Expect.equal (TestClient.status answer) 202 "in memory"
            let! _ = good.Next()
            first.Kill()
            let! _ = journalIsOpen second
            let! status = post port 2
            Expect.equal status (Some 202) "once it is free"
        }

        testCaseTask
            "copies of a RequestClone that is gone wait for it for a while, then they are dropped and counted"
        <| fun () -> task {
            use folder = new TestFolder()
            let away = TestTarget.refusedPort ()
            folder.Write("routes/a.yaml", route "gone" away "")
            let! program, port, metrics = start folder [ "--orphan-keep=2s" ]
            use program = program
            let! _ = journalIsOpen program

            do! accepts port [ 1..5 ]

            folder.Delete "routes/a.yaml"

            let! _ =
                program.Says "RequestClone shop/gone has not been routed for ORPHAN_KEEP: 5 copies dropped"

            let! _, pending = isBalanced metrics
            Expect.equal pending 0.0 "nothing is left"
        }
    ]
