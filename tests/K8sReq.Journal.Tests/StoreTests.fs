/// What every journal keeps to beyond the contract: what was kept is there after the process, whatever ended it.
module K8sReq.Journal.Tests.StoreTests

open System
open System.Buffers
open System.Threading.Tasks
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

/// What a naive model does, one after the other.
[<RequireQualifiedAccess>]
type private Step =
    /// A request with a copy for each; whether it has no room in memory.
    | Append of spilled: bool list
    | End of int
    | Shelve of int
    | TakeAll
    /// What may be taken at once, of which no attempt ends.
    | TakeOnce
    /// The process ends without a word, after its last commit.
    | Crash

let private steps =
    Gen.listOf (
        Gen.frequency [
            4, Gen.map Step.Append (Gen.elements [ [ true ]; [ false ]; [ false; false ]; [ false; true ] ])
            3, Gen.map Step.End (Gen.choose (0, 20))
            2, Gen.map Step.Shelve (Gen.choose (0, 20))
            1, Gen.constant Step.TakeAll
            1, Gen.constant Step.TakeOnce
            1, Gen.constant Step.Crash
        ]
    )

/// Runs the steps against a journal and two sets of copies, each the number of its request and its own: those in memory, and
/// those in the file alone.
let private agreesWithModel (create: unit -> TestPlace) (steps: Step list) : bool =
    use place = create ()
    let clone = shop "copy"
    let mutable bench = new Bench(place.Site)
    let mutable held: ((int * int) * AcceptedRequest * CopyId) list = []
    let mutable waiting: Set<int * int> = Set.empty
    let mutable number = 0
    // How many ends of the process each has met in memory.
    let mutable ends: Map<int * int, int> = Map.empty
    let mutable dead: Set<int * int> = Set.empty
    let wait (work: Task<'T>) = work.GetAwaiter().GetResult()
    let isHeld index = index < held.Length

    let numberOf (copy: StoredCopy) =
        int (bodyOf copy |> Array.last), copy.Id.Copy

    let metBy number =
        ends.TryFind number |> Option.defaultValue 0

    let takeOnce () =
        let taken = JournalBench.takeOnce bench clone |> wait
        let numbers = taken |> List.map numberOf

        let areWaiting =
            Set.isSubset (set numbers) waiting && (set numbers).Count = numbers.Length

        let areToldRight =
            taken |> List.forall (fun copy -> copy.IsSuspect = (metBy (numberOf copy) > 0))

        waiting <- waiting - set numbers

        held <-
            held
            @ [
                for copy in taken -> numberOf copy, StoredCopy.accepted 0L ignore copy, copy.Id
            ]

        let suspects = [
            for number, request, _ in held do
                if request.IsSuspect then
                    metBy number
        ]

        let areFew =
            suspects.Length <= 64 && (suspects.Length <= 1 || List.forall ((=) 1) suspects)

        taken, areWaiting && areToldRight && areFew

    // An attempt of each suspect ends, and others can be taken.
    let clear () =
        for number, request, id in held do
            if request.IsSuspect then
                bench.Store.Parked request id CopyState.accepted (TimeSpan.FromMilliseconds 100.0)
                ends <- ends.Remove number

    let rec takeAll () =
        clear ()

        match takeOnce () with
        | [], isRight -> isRight && waiting.IsEmpty
        | _, isRight -> isRight && takeAll ()

    let run step =
        match step with
        | Step.Append spilled ->
            number <- number + 1

            let request =
                requestOf [| 65uy; byte number |] [ for isSpilled in spilled -> clone, isSpilled ] ignore

            append bench request |> wait

            for copy, isSpilled in List.indexed spilled do
                if isSpilled then
                    waiting <- waiting.Add(number, copy)
                else
                    held <- held @ [ (number, copy), request, copyOf request copy ]

            true
        | Step.End index when isHeld index ->
            let _, request, id = held[index]
            bench.Store.Ended request id delivered
            held <- List.removeAt index held
            true
        | Step.Shelve index when isHeld index ->
            let number, request, id = held[index]
            bench.Store.Shelved request id CopyState.accepted TimeSpan.Zero
            held <- List.removeAt index held
            waiting <- waiting.Add number
            true
        | Step.End _
        | Step.Shelve _ -> true
        | Step.TakeAll -> takeAll ()
        | Step.TakeOnce -> snd (takeOnce ())
        | Step.Crash ->
            (bench :> IDisposable).Dispose()
            bench <- new Bench(place.Site)
            wait bench.Found |> ignore

            for number, _, _ in held do
                let met = 1 + metBy number
                ends <- ends.Add(number, met)

                if met = 3 then
                    dead <- dead.Add number
                else
                    waiting <- waiting.Add number

            held <- []
            true

    let isRight = steps |> List.forall run && takeAll ()

    let letters =
        bench.Journal.DeadLetters {
            DeadLetterFilter.everything with
                Limit = 1000
        }
        |> wait

    let isDeadRight = (letters |> Option.map List.length) = Some dead.Count

    bench.Journal.DropDeadLetters {
        DeadLetterFilter.everything with
            Limit = 1000
    }
    |> wait
    |> ignore

    for _, request, id in held do
        bench.Store.Ended request id delivered

    (bench :> IDisposable).Dispose()

    isRight
    && isDeadRight
    && place.Site.Count "copies" = 0L
    && place.Site.Count "requests" = 0L

let tests (name: string) (create: unit -> TestPlace) =
    testList name [
        testCaseTask "what was kept is found after a clean stop, byte for byte; what has ended is not"
        <| fun () -> task {
            use place = create ()
            let body = Array.init 300 byte

            let! kept = task {
                use bench = new Bench(place.Site)
                let first = requestOf "gone"B [ shop "a", false ] ignore
                let second = requestOf body [ shop "a", false; shop "b", false ] ignore
                do! append bench first
                do! append bench second
                bench.Store.Ended first (copyOf first 0) delivered
                bench.Store.Ended second (copyOf second 1) delivered
                return second
            }

            use bench = new Bench(place.Site)
            let! found = bench.FoundCopies
            Expect.equal found [ "a", 1L ] "the one that had not ended"
            let! taken = take bench (shop "a")
            let copy = List.exactlyOne taken
            Expect.equal copy.Id (copyOf kept 0) "its number"
            Expect.equal (bodyOf copy) (kept.Request.Wire.ToArray()) "its bytes"

            Expect.equal
                (copy.Request.Host, copy.Request.Method, copy.Request.FieldsEnd)
                (kept.Request.Host, kept.Request.Method, kept.Request.FieldsEnd)
                "and what is known of them"
        }

        testCaseTask "what was acknowledged is found after a crash"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)

            for n in 1..50 do
                do! append bench (requestOf [| byte n |] [ shop "a", n % 2 = 0 ] ignore)

            use after = new Bench(place.Site.Crash())
            let! found = after.FoundCopies
            Expect.equal found [ "a", 50L ] "all of them"
            let! taken = take after (shop "a")

            Expect.equal
                (taken |> List.map (bodyOf >> Array.last) |> List.sort)
                [ for n in 1..50 -> byte n ]
                "each once"
        }

        testCaseTask
            "a copy in memory is not given a second time; one that is shelved is, with its attempts, once it is due"
        <| fun () -> task {
            use place = create ()
            let clock = TestClock()
            use bench = new Bench(place.Site, clock)
            let request = requestOf "abc"B [ shop "a", false ] ignore
            do! append bench request
            let! taken = take bench (shop "a")
            Expect.isEmpty taken "it is in memory"

            let state = { CopyState.accepted with Attempts = 3 }

            bench.Store.Shelved request (copyOf request 0) state (TimeSpan.FromSeconds 10.0)
            let! taken = take bench (shop "a")
            Expect.isEmpty taken "it is not due"
            clock.Advance(TimeSpan.FromSeconds 11.0)
            let! taken = take bench (shop "a")
            Expect.equal (taken |> List.map _.Attempts) [ 3 ] "now it is"
            let! taken = take bench (shop "a")
            Expect.isEmpty taken "and no second time"
        }

        testCaseTask "batches are bounded by copies and by bytes, and the rest waits"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)

            for _ in 1..10 do
                do! append bench (requestOf (Array.zeroCreate 100) [ shop "a", true ] ignore)

            Expect.equal (bench.Store.Backlog(shop "a")).Copies 10L "all wait"
            let! few = bench.Store.Take (shop "a") 3 1_000_000L
            Expect.hasLength few 3 "so many"
            let! short = bench.Store.Take (shop "a") 100 150L
            Expect.hasLength short 2 "so many bytes, and what goes beyond once"
            Expect.equal (bench.Store.Backlog(shop "a")).Copies 5L "the rest"
        }

        testCaseTask "a RequestClone may hold half of what the others leave; what ends gives its room back"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site, limit = 1000L)
            let! _ = bench.Found
            Expect.isTrue (bench.Store.TryReserve (shop "a") 500L) "half"
            Expect.isFalse (bench.Store.TryReserve (shop "a") 1L) "no more"
            Expect.isTrue (bench.Store.TryReserve (shop "b") 250L) "half of the rest for another"
            Expect.isFalse (bench.Store.TryReserve (shop "b") 1L) "no more"
            bench.Store.Release (shop "a") 500L
            Expect.isTrue (bench.Store.TryReserve (shop "b") 250L) "there is room again"
        }

        testCaseTask
            "what waits for a RequestClone is given up as a whole, and makes room; what others have stays"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)

            for _ in 1..3 do
                do! append bench (requestOf "abc"B [ shop "a", true; shop "b", true ] ignore)

            let! dropped = bench.Journal.Drop(shop "a")
            Expect.equal dropped 3 "all of them"
            Expect.equal (bench.Store.Backlog(shop "a")).Copies 0L "none waits"
            Expect.isFalse (bench.Journal.Usage.Has(shop "a")) "nor takes room"
            let! again = bench.Journal.Drop(shop "a")
            Expect.equal again 0 "there are none"
            let! others = take bench (shop "b")

            Expect.equal
                (others |> List.map (bodyOf >> Array.last))
                [ 99uy; 99uy; 99uy ]
                "with their requests"
        }

        testCaseTask "requests with copies in memory alone cost the journal nothing"
        <| fun () -> task {
            use place = create ()
            use bench = new Bench(place.Site)
            let! _ = bench.Found
            let before = bench.Journal.Totals.Commits
            let mutable releases = 0

            let request =
                AcceptedRequest(
                    TestRequest.post "abc"B,
                    3L,
                    0L,
                    null,
                    1,
                    null,
                    fun () -> releases <- releases + 1
                )

            let kept = bench.Store.Append request
            Expect.isTrue (kept.IsCompletedSuccessfully && kept.Result) "at once"
            bench.Store.Ended request (copyOf request 0) delivered
            Expect.equal releases 1 "given back"
            Expect.equal bench.Journal.Totals.Commits before "nothing was written"
        }

        testPropertyWithConfig
            {
                FsCheckConfig.defaultConfig with
                    maxTest = 25
                    arbitrary = []
            }
            "any sequence of appends, ends, shelves, takes and crashes leaves what a naive model does, and at the end nothing"
            (Prop.forAll (Arb.fromGen steps) (agreesWithModel create))
    ]
