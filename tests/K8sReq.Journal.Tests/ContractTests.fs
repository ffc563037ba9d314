/// What every store of copies keeps to. A store is added to the list of those that pass.
module K8sReq.Journal.Tests.ContractTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private ofPlace (create: unit -> TestPlace) () =
    let place = create ()
    let bench = new Bench(place.Site)
    bench.Found.Wait()

    bench.Store,
    {
        new IDisposable with
            member _.Dispose() =
                (bench :> IDisposable).Dispose()
                (place :> IDisposable).Dispose()
    }

// A store, and what gives it back.
let private stores: (string * (unit -> CopyStore * IDisposable)) list = [
    "memory",
    fun () ->
        MemoryStore.create (),
        {
            new IDisposable with
                member _.Dispose() = ()
        }
    "SQLite", ofPlace TestPlace.folder
    "PostgreSQL", ofPlace TestPlace.postgres
]

let private request (copies: int) (release: unit -> unit) =
    AcceptedRequest(TestRequest.post "abc"B, 3L, 0L, null, copies, null, release)

let private keep (store: CopyStore) (request: AcceptedRequest) : Task<bool> = (store.Append request).AsTask()

let private contract (create: unit -> CopyStore * IDisposable) = [
    testCaseTask "what was appended is kept, and requests have numbers of their own"
    <| fun () -> task {
        let store, resources = create ()
        use _ = resources
        let requests = [ for _ in 1..100 -> request 1 ignore ]

        for request in requests do
            let! isKept = keep store request
            Expect.isTrue isKept "kept"

        Expect.hasLength (requests |> List.map _.Number |> List.distinct) 100 "each its own"
    }

    testCaseTask "a request's memory is given back once, after its last copy has ended"
    <| fun () -> task {
        let store, resources = create ()
        use _ = resources
        let mutable releases = 0
        let request = request 3 (fun () -> releases <- releases + 1)
        let! _ = keep store request
        store.Parked request (copyOf request 0) CopyState.accepted (TimeSpan.FromSeconds 1.0)
        store.Ended request (copyOf request 0) delivered
        store.Ended request (copyOf request 2) TargetOutcome.Cancelled
        Expect.equal releases 0 "one is still under way"
        store.Ended request (copyOf request 1) (TargetOutcome.Rejected 500)
        Expect.equal releases 1 "all have ended"
    }

    testCaseTask "requests and their ends come from many threads at once"
    <| fun () -> task {
        let store, resources = create ()
        use _ = resources
        let mutable releases = 0
        let numbers = Collections.Concurrent.ConcurrentBag<int64>()

        let work () : Task = task {
            for _ in 1..500 do
                let request = request 2 (fun () -> Interlocked.Increment &releases |> ignore)
                let! _ = keep store request
                numbers.Add request.Number

                do!
                    Task.WhenAll [
                        for copy in 0..1 ->
                            Task.Run(fun () -> store.Ended request (copyOf request copy) delivered)
                    ]
        }

        do! Task.WhenAll [ for _ in 1..4 -> Task.Run<Task>(Func<Task> work).Unwrap() ]
        Expect.equal releases 2000 "each once"
        Expect.hasLength (numbers |> Seq.distinct |> List.ofSeq) 2000 "numbers"
    }
]

let tests =
    testList "contract" [
        for name, create in stores do
            testList name (contract create)
    ]
