/// Copies that have failed for good: kept, listed, read, sent again, removed; and those that are never sent again.
module K8sReq.Journal.Tests.DeadLetterTests

open System
open System.Buffers
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private week = TimeSpan.FromDays 7.0
let private refused = TargetOutcome.Rejected 410
let private failing = TargetOutcome.TimedOut TimeoutPhase.Answering
let private all = DeadLetterFilter.everything

let private asked (answer: Task<'T option>) : Task<'T> = task {
    match! answer |> Waiting.within "the journal's answer" with
    | Some value -> return value
    | None -> return failtest "the journal cannot be used"
}

let private list (bench: Bench) filter =
    asked (bench.Journal.DeadLetters filter)

/// A request whose first copy is a dead letter.
let private die (bench: Bench) (body: byte[]) clone outcome : Task<AcceptedRequest> = task {
    let request = requestOf body [ clone, false ] ignore
    request.RequestId <- Guid.NewGuid()
    do! append bench request
    bench.Store.Died request (copyOf request 0) outcome 3 week false
    return request
}

let private routed _ = true

let tests (name: string) (create: unit -> TestPlace) =
    testList $"dead letters, {name}" [
        testCaseTask
            "a copy that has failed for good is kept, with what is known of it and the bytes that came"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)
            let! _ = bench.Found
            let received = bench.Journal.Now
            let request = requestOf "abc"B [ shop "a", false ] ignore
            request.RequestId <- Guid.NewGuid()
            do! append bench request
            clock.Advance(TimeSpan.FromMinutes 1.0)
            bench.Store.Died request (copyOf request 0) refused 3 week false

            let! letters = list bench all
            let letter = List.exactlyOne letters
            Expect.equal letter.Id (copyOf request 0) "its id"
            Expect.equal letter.RequestId request.RequestId "of its request"
            Expect.equal (string letter.Clone) "shop/a" "whose"
            Expect.equal (letter.Host, letter.Method, letter.Target) ("a.example", "POST", "/") "what"
            Expect.equal (letter.Cause, letter.Outcome) (DeadCause.Refused, "answered 410") "why"
            Expect.equal (letter.Attempts, letter.Bytes) (3, request.Bytes) "how often, how large"
            Expect.equal (letter.EndedAt - letter.ReceivedAt) (TimeSpan.FromMinutes 1.0) "when"

            Expect.isTrue
                ((letter.ReceivedAt - received).Duration() < TimeSpan.FromSeconds 1.0)
                "when it came"

            let! read = asked (bench.Journal.DeadLetter letter.Id)

            match read with
            | Some(same, content) ->
                Expect.equal same letter "the same"
                Expect.equal (content.Wire.ToArray()) (request.Request.Wire.ToArray()) "byte for byte"
                Expect.equal content.FieldsEnd request.Request.FieldsEnd "and where its head ends"
            | None -> failtest "it is there"

            let! none = asked (bench.Journal.DeadLetter { Request = 99L; Copy = 0 })
            Expect.isNone none "there is no such letter"
        }

        testCaseTask
            "a receiver's refusal is told apart from a failing target, an expiry and a fault of this program"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)

            let outcomes = [
                TargetOutcome.Rejected 404, DeadCause.Refused
                TargetOutcome.Rejected 302, DeadCause.Refused
                TargetOutcome.Rejected 503, DeadCause.Failing
                TargetOutcome.ConnectFailed "refused", DeadCause.Failing
                TargetOutcome.SendFailed "reset", DeadCause.Failing
                failing, DeadCause.Failing
                TargetOutcome.BadAnswer "no HTTP", DeadCause.Failing
                TargetOutcome.Expired None, DeadCause.Expired
                TargetOutcome.Faulted "bug", DeadCause.Poison
                TargetOutcome.Poisonous, DeadCause.Poison
            ]

            for outcome, _ in outcomes do
                let! _ = die bench "abc"B (shop "a") outcome
                ()

            let! letters = list bench all
            Expect.equal (letters |> List.map _.Cause) (outcomes |> List.map snd) "each"

            for cause in DeadCause.all do
                let! ofCause = list bench { all with Cause = Some cause }

                Expect.equal
                    ofCause.Length
                    (outcomes |> List.filter (fun (_, known) -> known = cause) |> List.length)
                    $"{cause}"

                Expect.equal (bench.Journal.Letters.AddedBy cause) (int64 ofCause.Length) "counted"

            for outcome in [ delivered; TargetOutcome.Overflowed; TargetOutcome.Cancelled ] do
                Expect.isNone (DeadCause.ofOutcome outcome) $"{outcome} leaves none"
        }

        testCaseTask "they are found by RequestClone, id and time, the oldest first, up to a limit"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)

            for name in [ "a"; "b"; "a"; "b"; "a" ] do
                let! _ = die bench "abc"B (shop name) failing
                // The work is written with the next commit; the time is of now.
                clock.Advance(TimeSpan.FromMinutes 1.0)

            let! letters = list bench all
            Expect.equal (letters |> List.map _.Clone.Name) [ "a"; "b"; "a"; "b"; "a" ] "the oldest first"
            let! ofClone = list bench { all with Clone = Some(shop "b") }
            Expect.equal ofClone [ letters[1]; letters[3] ] "of one"
            let! limited = list bench { all with Limit = 2 }
            Expect.equal limited [ letters[0]; letters[1] ] "so many"
            let! one = list bench { all with Id = Some letters[2].Id }
            Expect.equal one [ letters[2] ] "one"

            let! between =
                list bench {
                    all with
                        Since = Some letters[1].EndedAt
                        Until = Some letters[3].EndedAt
                }

            Expect.equal between [ letters[1]; letters[2]; letters[3] ] "both ends included"

            let! none =
                list bench {
                    all with
                        Clone = Some(shop "b")
                        Since = Some(letters[3].EndedAt.AddMilliseconds 1.0)
                }

            Expect.isEmpty none "all that is given counts"
        }

        testCaseTask
            "they are there after a clean stop and after a crash, and take nothing of what copies may have"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)
            let! _ = die bench "abc"B (shop "a") failing
            let! before = list bench all
            Expect.equal bench.Journal.Usage.Total 0L "its room is free"

            do! task {
                use after = new Bench(place.Site.Crash())
                let! found = after.Found
                Expect.isEmpty found.Waiting "no copy"

                Expect.equal
                    (found.Letters |> List.map (fun (clone, count) -> string clone, count.Letters))
                    [ "shop/a", 1L ]
                    "counted"

                let! letters = list after all
                Expect.equal letters before "the same"
            }
        }

        testCaseTask
            "a replay is a copy with its attempts and its time afresh, under the old request id; it is delivered, and gone"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)
            let! request = die bench "abc"B (shop "a") failing
            let! _ = die bench "def"B (shop "b") failing
            clock.Advance(TimeSpan.FromHours 3.0)

            let! replayed =
                asked (
                    bench.Journal.Replay(all, TimeSpan.Zero, TimeSpan.Zero, (fun clone -> clone = shop "a"))
                )

            Expect.equal replayed 1 "the other is not routed"
            Expect.equal bench.Replayed [ shop "a", 1L ] "told"
            let! letters = list bench all
            Expect.equal (letters |> List.map _.Clone) [ shop "b" ] "that one stays"
            Expect.isGreaterThan bench.Journal.Usage.Total 0L "it takes its room again"

            let! taken = take bench (shop "a")
            let copy = List.exactlyOne taken
            Expect.equal (copy.Id, copy.RequestId) (copyOf request 0, request.RequestId) "the same copy"
            Expect.equal copy.Attempts 0 "afresh"
            Expect.isLessThan copy.Age (TimeSpan.FromMinutes 1.0) "and it does not expire at once"
            Expect.equal (bodyOf copy) (request.Request.Wire.ToArray()) "the bytes that came"

            let again = StoredCopy.accepted 0L ignore copy
            bench.Store.Ended again copy.Id delivered
            let! _ = asked (bench.Journal.DropDeadLetters { all with Clone = Some(shop "b") })
            (bench :> IDisposable).Dispose()
            Expect.equal (place.Site.Count "requests") 0L "nothing is left"
        }

        testCaseTask "a replay that fails again is a dead letter again, under the same id"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)
            let! _ = die bench "abc"B (shop "a") failing
            let! before = list bench all
            let! _ = asked (bench.Journal.Replay(all, TimeSpan.Zero, TimeSpan.Zero, routed))
            let! taken = take bench (shop "a")
            let copy = List.exactlyOne taken

            let again = StoredCopy.accepted 0L ignore copy
            bench.Store.Died again copy.Id refused 1 week false
            let! after = list bench all
            Expect.equal (after |> List.map _.Id) (before |> List.map _.Id) "one"
            Expect.equal (after |> List.map _.Cause) [ DeadCause.Refused ] "for its last reason"
        }

        testCaseTask "a replay, or a drop of what waits, whose answer is lost: what there is is counted again"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)
            let! request = die bench "abc"B (shop "a") failing
            let! _ = list bench all
            bench.LoseAnswer()
            let! replayed = bench.Journal.Replay(all, TimeSpan.Zero, TimeSpan.Zero, routed)
            Expect.isNone replayed "nobody knows"

            do!
                Waiting.until "the copy to be found" (fun () -> task {
                    let! _ = kept bench.Store (requestOf "other"B [ shop "b", false ] ignore)
                    return (bench.Store.Backlog(shop "a")).Copies = 1L
                })

            Expect.equal bench.Recounted [ shop "a", 1L ] "told"
            Expect.equal (bench.Journal.Letters.Of(shop "a")).Letters 0L "it is no dead letter any more"
            let! taken = take bench (shop "a")
            let copy = List.exactlyOne taken
            bench.Store.Ended (StoredCopy.accepted 0L ignore copy) copy.Id delivered

            do!
                Waiting.until "its room to be free" (fun () ->
                    Task.FromResult(not (bench.Journal.Usage.Has(shop "a"))))

            do! append bench (requestOf "abc"B [ shop "c", true ] ignore)
            bench.LoseAnswer()
            let! dropped = bench.Journal.Drop(shop "c")
            Expect.equal dropped 0 "nobody knows"

            do!
                Waiting.until "it to be missed" (fun () -> task {
                    let! _ = kept bench.Store (requestOf "other"B [ shop "b", false ] ignore)
                    return (bench.Store.Backlog(shop "c")).Copies = 0L
                })

            Expect.equal bench.Recounted [ shop "a", 1L; shop "c", -1L ] "told"
            Expect.isFalse (bench.Journal.Usage.Has(shop "c")) "and takes no room"
            ignore request
        }

        testCaseTask "a replay takes no more than the journal has room for"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site, limit = 4000L)
            let body = Array.zeroCreate<byte> 500

            for _ in 1..3 do
                let! _ = die bench body (shop "a") failing
                ()

            let! kept = list bench all
            Expect.hasLength kept 2 "a quarter of the limit"
            // A RequestClone may hold half of the limit.
            Expect.isTrue (bench.Store.TryReserve (shop "a") 1200L) "other copies"

            let! replayed =
                asked (bench.Journal.Replay(all, TimeSpan.Zero, TimeSpan.Zero, routed))

            Expect.equal replayed 1 "one has room"
            let! letters = list bench all
            Expect.hasLength letters 1 "the other one stays"
        }

        testCaseTask
            "one that was dropped is gone, and its request with it; a request with another copy stays"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)
            let request = requestOf "abc"B [ shop "a", false; shop "b", true ] ignore
            do! append bench request
            bench.Store.Died request (copyOf request 0) failing 1 week false

            let! dropped =
                asked (bench.Journal.DropDeadLetters { all with Id = Some(copyOf request 0) })

            Expect.equal dropped 1 "one"
            let! letters = list bench all
            Expect.isEmpty letters "gone"
            Expect.equal (bench.Journal.Letters.LostBy DeadLetterLoss.Asked) 1L "counted"
            let! taken = take bench (shop "b")
            Expect.hasLength taken 1 "the other copy has its request"
        }

        testCaseTask "those that were kept long enough are removed, a few at a time"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)

            for _ in 1..5 do
                let! _ = die bench "abc"B (shop "a") failing
                ()

            clock.Advance(TimeSpan.FromDays 6.0)
            let! late = die bench "abc"B (shop "a") failing
            let! early = asked (bench.Journal.PruneDeadLetters 3)
            Expect.equal early 0 "not yet"
            clock.Advance(TimeSpan.FromDays 1.1)
            let! first = asked (bench.Journal.PruneDeadLetters 3)
            let! second = asked (bench.Journal.PruneDeadLetters 3)
            Expect.equal (first, second) (3, 2) "a few at a time"
            let! left = list bench all
            Expect.equal (left |> List.map _.Id) [ copyOf late 0 ] "the last one stays"
            Expect.equal (bench.Journal.Letters.LostBy DeadLetterLoss.Aged) 5L "counted"
        }

        testCaseTask
            "beyond a quarter of the journal's bytes the oldest go, and what copies may have is untouched"
        <| fun () -> task {
            use place = create ()
            // Room for two of them.
            use bench = new Bench(place.Site, limit = 4800L)
            let body = Array.zeroCreate<byte> 500
            let mutable ids = []

            for _ in 1..4 do
                let! request = die bench body (shop "a") failing
                ids <- ids @ [ copyOf request 0 ]

            let! letters = list bench all
            Expect.equal (letters |> List.map _.Id) (List.skip 2 ids) "the last two"
            Expect.equal (bench.Journal.Letters.LostBy DeadLetterLoss.Full) 2L "counted"
            Expect.equal (bench.Journal.Letters.Of(shop "a")).Letters 2L "kept"
            Expect.equal bench.Journal.Usage.Total 0L "copies"
        }

        testCaseTask
            "a copy that was in memory at three ends of the process, and sent at two of them, is parked"
        <| fun () -> task {
            use place = create ()
            let mutable site = place.Site

            let crash (bench: Bench) = task {
                let! _ = list bench all
                site <- site.Crash()
            }

            // Live, and never sent on its own: no suspicion yet.
            do! task {
                use bench = new Bench(site)
                do! append bench (requestOf "abc"B [ shop "a", false ] ignore)
                do! crash bench
            }

            for _ in 1..2 do
                use bench = new Bench(site)
                let! found = bench.FoundCopies
                Expect.equal found [ "a", 1L ] "it is tried again"
                let! taken = takeOnce bench (shop "a")
                Expect.hasLength taken 1 "and sent"
                do! crash bench

            use bench = new Bench(site)
            let! found = bench.Found

            Expect.equal
                (found.Poisonous |> List.map (fun entry -> string entry.Clone))
                [ "shop/a" ]
                "no more"

            let! taken = take bench (shop "a")
            Expect.isEmpty taken "it is not sent"
            let! letters = list bench all
            Expect.equal (letters |> List.map _.Cause) [ DeadCause.Poison ] "it is kept"
            Expect.equal letters[0].Target "/" "with what is known of it"
            Expect.equal bench.Journal.Usage.Total 0L "and takes no copy's room"
        }

        testCaseTask
            "of copies that were in memory at an end few are there at a time, and at a second one each is alone"
        <| fun () -> task {
            use place = create ()
            let clone = shop "a"
            let mutable site = place.Site

            do! task {
                use bench = new Bench(site)

                for _ in 1..70 do
                    do! append bench (requestOf "abc"B [ clone, false ] ignore)

                let! _ = list bench all
                site <- site.Crash()
            }

            let ended (bench: Bench) (copy: StoredCopy) = task {
                bench.Store.Ended (StoredCopy.accepted 0L ignore copy) copy.Id delivered
                let! _ = list bench all
                return ()
            }

            do! task {
                use bench = new Bench(site)
                let! _ = bench.Found
                let! taken = takeOnce bench clone
                Expect.hasLength taken 64 "some of them"
                let! more = takeOnce bench clone
                Expect.isEmpty more "no more"
                do! ended bench taken[0]
                let! more = takeOnce bench clone
                Expect.hasLength more 1 "in the place of the one that has ended"
                site <- site.Crash()
            }

            use bench = new Bench(site)
            let! found = bench.FoundCopies
            Expect.equal found [ "a", 69L ] "all but the one that has ended"
            let! first = takeOnce bench clone
            Expect.hasLength first 1 "alone"
            let! none = takeOnce bench clone
            Expect.isEmpty none "until its attempt has ended"

            bench.Store.Parked
                (StoredCopy.accepted 0L ignore first[0])
                first[0].Id
                { CopyState.accepted with Attempts = 1 }
                (TimeSpan.FromMilliseconds 100.0)

            let! _ = list bench all
            let! next = takeOnce bench clone
            Expect.hasLength next 1 "then the next one"
            Expect.notEqual next[0].Id first[0].Id "another"
        }

        testCaseTask
            "a copy that has outlived an attempt is under no suspicion, however often the process ends"
        <| fun () -> task {
            use place = create ()
            let mutable site = place.Site

            do! task {
                use bench = new Bench(site)
                do! append bench (requestOf "abc"B [ shop "a", false ] ignore)
                site <- site.Crash()
            }

            for attempt in 1..5 do
                use bench = new Bench(site)
                let! _ = bench.Found
                let! taken = take bench (shop "a")
                let copy = List.exactlyOne taken

                let request = StoredCopy.accepted 0L ignore copy

                bench.Store.Parked
                    request
                    copy.Id
                    {
                        CopyState.accepted with
                            Attempts = attempt
                    }
                    (TimeSpan.FromMilliseconds 100.0)

                let! _ = list bench all
                site <- site.Crash()

            use bench = new Bench(site)
            let! found = bench.Found
            Expect.isEmpty found.Poisonous "none"
            let! taken = take bench (shop "a")
            Expect.equal (taken |> List.map _.Attempts) [ 5 ] "its attempts count"
        }

        testCaseTask "ids of requests are never given twice, also where nothing is left of the first"
        <| fun () -> task {
            use place = create ()
            let mutable numbers = []

            for _ in 1..3 do
                use bench = new Bench(place.Site)
                let! request = die bench "abc"B (shop "a") failing
                let! _ = asked (bench.Journal.DropDeadLetters all)
                numbers <- request.Number :: numbers

            Expect.hasLength (List.distinct numbers) 3 "three"
        }

        testCaseTask "a clock that was set delays nothing that waits, and makes nothing older"
        <| fun () -> task {
            use place = create ()
            let year = TimeSpan.FromDays 365.0

            let waitOf (bench: Bench) = (bench.Store.Backlog(shop "a")).Wait

            // Written by a program whose clock is a year ahead.
            do! task {
                let clock = SetClock(Offset = year)
                use bench = new Bench(place.Site, clock)
                let request = requestOf "abc"B [ shop "a", false ] ignore
                do! append bench request
                bench.Store.Shelved request (copyOf request 0) CopyState.accepted (TimeSpan.FromMinutes 5.0)
                let! _ = list bench all

                // Set back while it runs: what waits, waits as long as it would have.
                clock.Offset <- TimeSpan.Zero
                Expect.isTrue (waitOf bench <= TimeSpan.FromMinutes 5.0) "while it runs"
            }

            // And read by one whose clock is right.
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)
            let! _ = bench.Found
            Expect.isTrue (waitOf bench <= TimeSpan.FromMinutes 5.0) $"{waitOf bench}"
            clock.Advance(TimeSpan.FromMinutes 5.1)
            let! taken = take bench (shop "a")
            let copy = List.exactlyOne taken
            Expect.isTrue (copy.Age < TimeSpan.FromMinutes 11.0) $"{copy.Age}"
        }
    ]
