/// Several replicas of the published program with one journal in PostgreSQL: what one has acknowledged is delivered, by another
/// if need be, and once as far as that can be.
module K8sReq.Host.Tests.PostgresJournalTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit
open K8sReq.Host.Tests.JournalTests

/// A server that the test may break, and a database.
let private withServer (run: PostgresServer -> string -> Task<unit>) () : Task<unit> = task {
    if not PostgresServer.IsInstalled then
        skiptest PostgresServer.Missing

    use server = PostgresServer.New()
    do! run server (server.UriOf(server.NewDatabase()))
}

let private startWith (folder: TestFolder) (uri: string) (name: string) : Task<PublishedProgram * int * int> =
    task {
        let program =
            PublishedProgram.Start(
                [ "--manifests"; folder.At "routes" ] @ free,
                [ "JOURNAL", uri; "POD_NAME", name ]
            )

        let! proxy = program.Says @"Proxy listening on port (\d+)"
        let! metrics = program.Says @"Metrics listening on port (\d+)"
        let! _ = program.Says @"Routes: \d+"
        let! _ = journalIsOpen program
        return program, int proxy, int metrics
    }

/// Sends numbered requests until it is told to stop; those that were acknowledged.
[<Sealed>]
type private Load(ports: unit -> int list, first: int) =
    let acknowledged = ConcurrentQueue<int>()
    let mutable last = first
    let mutable isOver = false
    let mutable answers: Map<int, int> = Map.empty

    let send () : Task = task {
        while not (Volatile.Read &isOver) do
            let number = Interlocked.Increment &last
            let ports = ports ()
            let! status = post ports[number % ports.Length] number

            match status with
            | Some 202 -> acknowledged.Enqueue number
            | Some other ->
                lock acknowledged (fun () ->
                    answers <- answers.Add(other, 1 + (answers.TryFind other |> Option.defaultValue 0)))

                do! Task.Delay 10
            | None -> do! Task.Delay 10
    }

    let senders = [ for _ in 1..4 -> Task.Run<Task>(fun () -> send ()).Unwrap() ]

    member _.Count = acknowledged.Count
    /// Others than 202, and how many.
    member _.Answers = lock acknowledged (fun () -> answers)

    member load.More(count: int) : Task<unit> =
        let before = load.Count
        Waiting.until "more load" (fun () -> Task.FromResult(load.Count >= before + count))

    member _.Stop() : Task<Set<int>> = task {
        isOver <- true
        do! Task.WhenAll senders
        return Set.ofSeq acknowledged
    }

let private takenOver (metrics: int) : Task<float> = task {
    let! text = Scrape.text metrics

    return
        Scrape.series text
        |> Map.toSeq
        |> Seq.filter (fun (key, _) -> key.StartsWith "k8sreq_copies_total" && key.Contains "taken_over")
        |> Seq.sumBy snd
}

let tests =
    testSequenced
    <| testList "a journal in PostgreSQL" [
        testCaseTask
            "a replica that is killed for good: another delivers all that it had acknowledged, within 30 s"
        <| withServer (fun _ uri -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            let away = TestTarget.refusedPort ()
            folder.Write("routes/all.yaml", route "good" good.Port "" + route "away" away "")
            let! heir, _, heirMetrics = startWith folder uri "heir"
            use _ = heir
            let! killed, port, _ = startWith folder uri "killed"
            use killed = killed
            let load = Load((fun () -> [ port ]), 0)
            do! load.More 200
            killed.Kill()
            let! acknowledged = load.Stop()
            use late = TestTarget.at away
            // For as long as a takeover may take.
            let! _ = receives late acknowledged |> Waiting.within "every acknowledged request"
            let! _ = receives good acknowledged |> Waiting.within "every acknowledged request"
            do! nothingIsPending heirMetrics
        })

        testCaseTask
            "a replica that stands still for longer than its lease sends nothing of what others have by then"
        <| withServer (fun _ uri -> task {
            use folder = new TestFolder()
            let answer = ref "HTTP/1.1 503 Busy\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n"
            use target = TestTarget.answeringEach (fun () -> answer.Value)
            folder.Write("routes/all.yaml", route "busy" target.Port ", retryAfterMax: 10s")
            let! heir, _, heirMetrics = startWith folder uri "heir"
            use heir = heir
            let! still, port, metrics = startWith folder uri "still"
            use still = still

            do! accepts port [ 1..50 ]
            // They rest for as long as the target asks: none is about to be sent when the program is stopped, for between the question
            // whether it may and the send nothing can hold it.
            let! _ = receives target (set [ 1..50 ]) |> Waiting.within "the first attempts"

            // SIGSTOP.
            still.Signal 19
            answer.Value <- "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            let! _ = heir.Says "Took over (\\d+) cop" |> Waiting.within "the takeover"
            let! seen = receives target (set [ 1..50 ]) |> Waiting.within "all of them"
            do! nothingIsPending heirMetrics
            // SIGCONT. It sends what it had, if it does not ask first.
            still.Signal 18

            do!
                Waiting.until "it to know" (fun () -> task {
                    let! taken = takenOver metrics
                    return taken = 50.0
                })

            let! _, pending = isBalanced metrics
            Expect.equal pending 0.0 "it has none of them"
            let! status = post port 51
            Expect.equal status (Some 202) "it goes on with what comes"
            let! more = receives target (set [ 51 ]) |> Waiting.within "the next one"
            Expect.equal more [ 51 ] "and nothing else came again"
            Expect.equal (List.sort seen) [ 1..50 ] "each came once"
        })

        testCaseTask
            "a server that is away for 10 s under load: 503 meanwhile, nothing is lost, one line of log"
        <| withServer (fun server uri -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            use memory = TestTarget.ok ()

            folder.Write(
                "routes/all.yaml",
                route "good" good.Port ""
                + Manifests.service "memory" memory.Port
                + (Manifests.clone "memory" "b.example" "memory")
                    .Replace("}}\n", "}, delivery: {durability: Memory}}\n")
            )

            let! program, port, metrics = startWith folder uri "one"
            use program = program
            let load = Load((fun () -> [ port ]), 0)
            do! load.More 100
            server.Stop "QUIT"

            do!
                Waiting.until "refusals" (fun () ->
                    Task.FromResult(load.Answers.TryFind 503 |> Option.exists (fun count -> count > 20)))

            let! answer =
                TestClient.roundTrip
                    port
                    "POST / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\nContent-Length: 1\r\n\r\n7"

            Expect.equal (TestClient.status answer) 202 "what is kept in memory goes on"
            let! probes = program.Says @"Probes listening on port (\d+)"

            let! ready =
                TestClient.roundTrip
                    (int probes)
                    "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

            Expect.equal (TestClient.status ready) 200 "it stays ready"
            let! _ = receives memory (set [ 7 ]) |> Waiting.within "it"
            do! Task.Delay 8000
            server.Start()
            do! load.More 100
            let! acknowledged = load.Stop()
            let! _ = receives good acknowledged |> Waiting.within "every acknowledged request"
            do! nothingIsPending metrics
            Expect.equal (Set.ofSeq (Map.keys load.Answers)) (set [ 503 ]) "no other answer"

            let lines (text: string) =
                program.Errors.Split '\n' |> Array.filter _.Contains(text) |> Array.length

            Expect.equal (lines "Journal unavailable") 1 "one line"
            Expect.equal (lines "/test1 works again") 1 "and one for its end"
        })

        testCaseTask "a password from the URI, from a variable or from a file is shown nowhere"
        <| withServer (fun _ uri -> task {
            use folder = new TestFolder()
            use target = TestTarget.ok ()
            folder.Write("routes/all.yaml", route "good" target.Port "")
            let password = Uri.UnescapeDataString(uri.Split(':', '@')[2])

            let without =
                uri.Remove(uri.IndexOf(":p%40"), uri.IndexOf '@' - uri.IndexOf ":p%40")

            folder.Write("password", password + "\n")

            let ways = [
                [ "JOURNAL", uri ]
                [ "JOURNAL", without; "PGPASSWORD", password ]
                [ "JOURNAL", without; "JOURNAL_PASSWORD_FILE", folder.At "password" ]
            ]

            for number, variables in List.indexed ways do
                use program =
                    PublishedProgram.Start([ "--manifests"; folder.At "routes" ] @ free, variables)

                let! port = program.Says @"Proxy listening on port (\d+)"
                let! metrics = program.Says @"Metrics listening on port (\d+)"
                let! status = program.Says @"Status page listening on port (\d+)"
                let! _ = program.Says @"Routes: \d+"
                let! _ = journalIsOpen program
                let! answer = post (int port) number
                Expect.equal answer (Some 202) "kept"
                let! _ = receives target (set [ number ]) |> Waiting.within "the copy"
                let! metrics = Scrape.text (int metrics)
                let! page = Scrape.get (int status) "/"
                let! api = Scrape.get (int status) "/api/status"

                for text in [ program.Errors; program.Output; metrics; page; api ] do
                    for secret in [ password; Uri.EscapeDataString password ] do
                        Expect.isFalse (text.Contains secret) "nowhere"

                // What has left is not counted.
                do!
                    Waiting.until "the only replica" (fun () -> task {
                        let! api = Scrape.get (int status) "/api/status"
                        return api.Contains "\"replicas\":1,"
                    })

                program.Terminate()
                let! code = program.ExitCode()
                Expect.equal code 0 "stopped as asked"
        })

        testCaseTask
            "a clean stop of one of two replicas: nothing is sent twice, and the other sends the rest at once"
        <| withServer (fun _ uri -> task {
            use folder = new TestFolder()
            let away = TestTarget.refusedPort ()
            folder.Write("routes/all.yaml", route "away" away "")
            let! heir, _, metrics = startWith folder uri "heir"
            use _ = heir
            let! stopped, port, _ = startWith folder uri "stopped"
            use stopped = stopped

            do! accepts port [ 1..20 ]

            stopped.Terminate()
            let! code = stopped.ExitCode()
            Expect.equal code 0 "stopped as asked"
            use late = TestTarget.at away
            let! seen = receives late (set [ 1..20 ]) |> Waiting.within "every request"
            do! nothingIsPending metrics
            Expect.equal (List.sort seen) [ 1..20 ] "each once"
        })
    ]
