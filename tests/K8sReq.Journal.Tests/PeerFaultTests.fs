/// Faults that other systems of this kind have had, each test named after what happened there. The faults of a process (kills,
/// failing disks) have their tests with the published program.
module K8sReq.Journal.Tests.PeerFaultTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private waits (bench: Bench) (clone: ObjectKey) (copies: int64) : Task<unit> =
    Waiting.until $"{copies} copies to wait in the file" (fun () ->
        Task.FromResult((bench.Store.Backlog clone).Copies = copies))

/// Overwrites the beginning of a table's first page, and gives what undoes it. The file must be closed.
let private spoil (folder: string) (table: string) : unit -> unit =
    let file = JournalFile.pathIn folder

    let offset =
        use database = new Database(file)

        let page =
            database.Number $"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"

        (page - 1L) * database.Number "PRAGMA page_size"

    let write (bytes: byte[]) =
        use handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite)
        RandomAccess.Write(handle, bytes, offset)

    let before = Array.zeroCreate<byte> 8

    do
        use handle = File.OpenHandle file
        RandomAccess.Read(handle, before, offset) |> ignore

    write (Array.create 8 0xAAuy)
    fun () -> write before

/// Those that no engine may have.
let ofEvery (name: string) (create: unit -> TestPlace) =
    testList $"peers' faults, {name}" [
        testCaseTask "copies that were under way when the process ended stayed \"in progress\" for ever"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)
            // Sent from memory; taken out of the file; gone back to it.
            do! append bench (requestOf "live"B [ shop "a", false ] ignore)
            do! append bench (requestOf "taken"B [ shop "a", true ] ignore)
            let! taken = take bench (shop "a")
            Expect.hasLength taken 1 "one is taken"
            let shelved = requestOf "shelved"B [ shop "a", false ] ignore
            do! append bench shelved
            bench.Store.Shelved shelved (copyOf shelved 0) CopyState.accepted TimeSpan.Zero
            do! waits bench (shop "a") 1L

            use after = new Bench(place.Site.Crash())
            let! found = after.FoundCopies
            Expect.equal found [ "a", 3L ] "all are found"
            let! taken = take after (shop "a")

            let bodies =
                taken |> List.map (fun copy -> Text.Encoding.ASCII.GetString(bodyOf copy))

            for body in [ "live"; "taken"; "shelved" ] do
                Expect.hasLength (bodies |> List.filter _.EndsWith(body)) 1 $"{body}, once"
        }

        testCaseTask "a next attempt whose time had passed was never made"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()

            do! task {
                use bench = new Bench(place.Site, clock)
                let request = requestOf "abc"B [ shop "a", false ] ignore
                do! append bench request

                bench.Store.Shelved request (copyOf request 0) CopyState.accepted (TimeSpan.FromSeconds 10.0)
            }

            clock.Advance(TimeSpan.FromDays 365.0)
            use bench = new Bench(place.Site, clock)
            let! _ = bench.Found
            // A server has a clock of its own.
            clock.Advance(TimeSpan.FromDays 365.0)
            Expect.equal (bench.Store.Backlog(shop "a")).Wait TimeSpan.Zero "long ago"
            let! taken = take bench (shop "a")
            Expect.hasLength taken 1 "now"
        }

        testCaseTask "what came after a restart got the numbers of what was there"
        <| fun () -> task {
            use place = create ()

            for _ in 1..3 do
                use bench = new Bench(place.Site)

                for _ in 1..5 do
                    do! append bench (requestOf "abc"B [ shop "a", true; shop "b", true ] ignore)

            use bench = new Bench(place.Site)
            let! _ = bench.Found
            let! ofA = take bench (shop "a")
            let! ofB = take bench (shop "b")
            let ids = (ofA @ ofB) |> List.map _.Id
            Expect.hasLength ids 30 "all of them"
            Expect.hasLength (List.distinct ids) 30 "each its own"
        }

        testCaseTask "the limit was looked at before the insert, and many at once went past it"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site, limit = 8000L)
            let! _ = bench.Found
            let mutable taken = 0

            let reserve clone () =
                for _ in 1..2000 do
                    if bench.Store.TryReserve clone 1L then
                        Interlocked.Increment &taken |> ignore

            do! Task.WhenAll [ for _ in 1..8 -> Task.Run(reserve (shop "a")) ]
            Expect.equal taken 4000 "half of it for one, to the byte"
            do! Task.WhenAll [ for n in 1..8 -> Task.Run(reserve (shop $"b{n % 2}")) ]
            Expect.isLessThanOrEqual taken 8000 "and never more than there is"
            Expect.equal bench.Journal.Usage.Total (int64 taken) "as it is counted"
        }

        testCaseTask "what had been delivered counted against the limit"
        <| fun () -> task {
            use place = create ()
            // Room for ten at once.
            use bench = new Bench(place.Site, limit = 200L)

            for _ in 1..100 do
                let request = requestOf (Array.zeroCreate 10) [ shop "a", false ] ignore
                // `append` fails where there is no room.
                do! append bench request
                bench.Store.Ended request (copyOf request 0) delivered

            do!
                Waiting.until "all room to be given back" (fun () ->
                    Task.FromResult((bench.Journal.Usage.Total = 0L)))

            (bench :> IDisposable).Dispose()
            Expect.equal (place.Site.Count "requests") 0L "nothing is left"
        }

        testCaseTask "a stop amid a batch forgot what had been delivered"
        <| fun () -> task {
            use place = create ()

            do! task {
                use bench = new Bench(place.Site)
                let requests = [ for n in 1..300 -> requestOf [| byte n |] [ shop "a", false ] ignore ]

                for request in requests do
                    do! append bench request

                do!
                    Task.WhenAll [
                        for part in List.splitInto 4 (List.tail requests) ->
                            Task.Run(fun () ->
                                for request in part do
                                    bench.Store.Ended request (copyOf request 0) delivered)
                    ]
            // No time to write any of it.
            }

            use bench = new Bench(place.Site)
            let! found = bench.FoundCopies
            Expect.equal found [ "a", 1L ] "the one that was not delivered"
        }

        testCaseTask "each attempt left a row, and the file grew with the retries"
        <| fun () -> task {
            use place = create ()
            let mutable image = place.Site

            do! task {
                use bench = new Bench(place.Site)
                let request = requestOf "abc"B [ shop "a", false ] ignore
                do! append bench request

                for attempt in 1..500 do
                    let state = {
                        CopyState.accepted with
                            Attempts = attempt
                    }

                    bench.Store.Parked request (copyOf request 0) state (TimeSpan.FromSeconds 10.0)

                // Behind them.
                do! append bench (requestOf "other"B [ shop "b", false ] ignore)
                image <- place.Site.Crash()
            }

            use after = new Bench(image)
            let! _ = after.Found
            let! taken = take after (shop "a")
            Expect.equal (taken |> List.map _.Attempts) [ 500 ] "the last one counts"
            (after :> IDisposable).Dispose()
            Expect.equal (image.Count "copies") 2L "a row for each copy"
        }

        testCaseTask "pruning kept what came in waiting until it was done"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)
            let aged = requestOf "abc"B [ for _ in 1..1000 -> shop "a", false ] ignore
            do! append bench aged

            for copy in 0..999 do
                bench.Store.Died
                    aged
                    (copyOf aged copy)
                    (TargetOutcome.Rejected 410)
                    1
                    (TimeSpan.FromSeconds 1.0)
                    false

            let left () =
                (bench.Journal.Letters.Of(shop "a")).Letters

            do! Waiting.until "the dead letters" (fun () -> Task.FromResult(left () = 1000L))
            let before = bench.Journal.Totals.Commits
            use _ = new DeadLetterPruning(clock, bench.Journal)
            clock.Advance(TimeSpan.FromMinutes 1.0)
            do! Waiting.until "the end of it" (fun () -> Task.FromResult(left () = 0L))
            // What comes in meanwhile is in the next commit, so none of them may be long.
            let parts = bench.Journal.Totals.Commits - before
            Expect.isGreaterThanOrEqual parts 10L "in parts of a hundred"
        }
    ]

let tests =
    testList "peers' faults" [
        testCaseTask "the log of the database grew without bound while there was a backlog"
        <| fun () -> task {
            use folder = new TestFolder()
            use bench = new Bench(folder.At "journal")
            let log = JournalFile.pathIn (folder.At "journal") + "-wal"

            for _ in 1..50 do
                do! append bench (requestOf (Array.zeroCreate 10_000) [ shop "dead", true ] ignore)

            let mutable longest = 0L

            // 128 MiB in all.
            for _ in 1..250 do
                let requests = [
                    for _ in 1..8 -> requestOf (Array.zeroCreate 65536) [ shop "a", false ] ignore
                ]

                do! Task.WhenAll [ for request in requests -> append bench request :> Task ]

                for request in requests do
                    bench.Store.Ended request (copyOf request 0) delivered

                longest <- max longest (FileInfo(log).Length)

            Expect.isGreaterThan longest 1_000_000L "it is there"
            // It is written back every 8 MiB, and cut to 16.
            Expect.isLessThan longest (24L * 1024L * 1024L) "and stays short"
            Expect.equal (bench.Store.Backlog(shop "dead")).Copies 50L "the backlog is there"
        }

        testCaseTask
            "pages whose sync had failed counted as written, and a later sync left them out (PostgreSQL, 2018): what is found in the log is written anew"
        <| fun () -> task {
            use folder = new TestFolder()
            use bench = new Bench(folder.At "journal")

            for _ in 1..20 do
                do! append bench (requestOf "abc"B [ shop "a", false ] ignore)

            let image = crash folder "image"
            use after = new Bench(image)
            let! _ = after.Found
            // As if what was in the log had never reached the disk.
            let withoutLog = Directory.CreateDirectory(folder.At "without-log").FullName
            File.Copy(JournalFile.pathIn image, JournalFile.pathIn withoutLog)
            use last = new Bench(withoutLog)
            let! found = last.FoundCopies
            Expect.equal found [ "a", 20L ] "all of them are in the file itself"
        }

        testCaseTask
            "once the storage had failed nothing but a restart helped: a journal that is restored goes on"
        <| fun () -> task {
            use folder = new TestFolder()

            do! task {
                use bench = new Bench(folder.At "journal")
                do! append bench (requestOf "abc"B [ shop "a", true ] ignore)
            }

            // Each is read at another moment of the opening.
            for table in [ "copies"; "requests"; "clones" ] do
                let restore = spoil (folder.At "journal") table
                use bench = new Bench(folder.At "journal")

                do!
                    Waiting.until "the fault" (fun () ->
                        Task.FromResult(
                            match bench.Faults with
                            | [ JournalFault.Corrupt _ ] -> true
                            | _ -> false
                        ))

                restore ()
                let! found = bench.FoundCopies
                Expect.equal found [ "a", 1L ] $"{table}: what is in it"
                let request = requestOf "abc"B [ shop "b", false ] ignore
                do! append bench request
                bench.Store.Ended request (copyOf request 0) delivered
                Expect.hasLength bench.Faults 1 "told once"
                Expect.equal bench.Recoveries 1 "and that it works again"
        }
    ]
