/// Copies that come out of a store: each is sent once, none is left, and live ones keep their places.
module K8sReq.Proxy.Tests.BacklogFeederTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private clone = (Targets.named "a").Clone

let private stored (number: int64) : StoredCopy = {
    Id = { Request = number; Copy = 0 }
    Clone = clone
    Request = TestRequest.post "abc"B
    Bytes = 10L
    RequestId = Guid.Empty
    Age = TimeSpan.Zero
    Attempts = 0
    IsSuspect = false
    Epoch = 0L
}

/// A store with so many copies in it, and what was taken out, shelved and ended.
[<Sealed>]
type private FakeStore(copies: int) =
    inherit CopyStore()

    let waiting = ConcurrentQueue<int64>(seq { 1L .. int64 copies })
    let ended = ConcurrentQueue<int64>()

    member _.EndedCopies = List.ofSeq ended
    member _.Waiting = waiting.Count

    override _.Append _ = ValueTask<bool> true
    override _.MaySend _ _ = ValueTask<bool> true
    override _.Parked _ _ _ _ = ()

    override _.Shelved request id _ _ =
        waiting.Enqueue id.Request
        request.CopyEnded()

    override _.Ended request id _ =
        ended.Enqueue id.Request
        request.CopyEnded()

    override _.Died request id _ _ _ _ =
        ended.Enqueue id.Request
        request.CopyEnded()

    override _.TryReserve _ _ = true
    override _.Release _ _ = ()

    override _.Backlog _ = {
        Copies = int64 waiting.Count
        Bytes = 0L
        Wait = TimeSpan.Zero
        OldestAge = TimeSpan.Zero
    }

    override _.Take _ most _ = task {
        do! Task.Yield()

        return [
            let mutable left = most
            let mutable next = 0L

            while left > 0 && waiting.TryDequeue &next do
                left <- left - 1
                stored next
        ]
    }

let private limits = { Concurrency = 8; QueueBytes = 1000L }

let private quiet: LaneEvents = {
    Overflowed = ignore
    Recovered = fun _ _ -> ()
}

let private services (store: FakeStore) (client: TargetClient) = {
    (BarePipeline.services Tracing.Off).Delivery with
        Store = store
        Client = client
}

let tests =
    testList "BacklogFeeder" [
        testCaseTask "whoever nudges it, however often: each copy is sent once, and none is left"
        <| fun () -> task {
            let store = FakeStore 2000
            let sent = ConcurrentQueue<int>()

            let client =
                InMemoryDelivery.clientOf (fun _ _ ->
                    ValueTask<SendResult>(
                        task {
                            do! Task.Yield()
                            sent.Enqueue 1
                            return SendResult.ofOutcome (TargetOutcome.Delivered 200)
                        }
                    ))

            let lane = Targets.lane limits quiet (Targets.named "a")
            let budget = BufferBudget 1_000_000L

            let feeder =
                BacklogFeeder(services store client, budget, limits.Concurrency, ignore, lane)

            let nudge () =
                while store.EndedCopies.Length < 2000 do
                    feeder.Nudge()
                    Thread.Yield() |> ignore

            let nudging = task { do! Task.WhenAll [ for _ in 1..4 -> Task.Run(fun () -> nudge ()) ] }
            do! nudging |> Waiting.within "all copies"

            Expect.equal (List.sort store.EndedCopies) [ 1L .. 2000L ] "each ended once"
            Expect.equal sent.Count 2000 "each was sent once"
            do! Waiting.until "the memory" (fun () -> Task.FromResult((budget.Used = 0L)))
        }

        testCaseTask "while others wait for the lane, those from the store have a quarter of its places"
        <| fun () -> task {
            let store = FakeStore 100

            let answers =
                TaskCompletionSource<SendResult>(TaskCreationOptions.RunContinuationsAsynchronously)

            let mutable underWay = 0

            let client =
                InMemoryDelivery.clientOf (fun _ _ ->
                    Interlocked.Increment &underWay |> ignore
                    ValueTask<SendResult> answers.Task)

            let lane = Targets.lane limits quiet (Targets.named "a")
            // Live copies hold six of the eight places, and more of them wait.
            for _ in 1..6 do
                lane.TryEnter 10L |> ignore

            let feeder =
                BacklogFeeder(
                    services store client,
                    BufferBudget 1_000_000L,
                    limits.Concurrency,
                    ignore,
                    lane
                )

            feeder.Nudge()

            do!
                Waiting.until "the free places to be taken" (fun () ->
                    Task.FromResult((lane.Load.Sending = 8)))

            for _ in 1..5 do
                lane.TryEnter 10L |> ignore

            feeder.Nudge()
            feeder.Nudge()
            do! Waiting.until "the pump to rest" (fun () -> Task.FromResult(not feeder.IsPumping))
            Expect.equal underWay 2 "a quarter of the places"
            Expect.equal lane.Load.Queued 5 "and none of them in the queue"
            answers.SetResult(SendResult.ofOutcome (TargetOutcome.Delivered 200))
        }

        testCaseTask "of a lane that is retired everything goes back to the store"
        <| fun () -> task {
            let store = FakeStore 50

            let client =
                InMemoryDelivery.clientOf (fun _ _ ->
                    ValueTask<SendResult>(
                        Task
                            .Delay(-1)
                            .ContinueWith(fun (_: Task) -> SendResult.ofOutcome TargetOutcome.Cancelled)
                    ))

            let lane = Targets.lane limits quiet (Targets.named "a")

            let feeder =
                BacklogFeeder(
                    services store client,
                    BufferBudget 1_000_000L,
                    limits.Concurrency,
                    ignore,
                    lane
                )

            feeder.Nudge()
            do! Waiting.until "some to be sent" (fun () -> Task.FromResult((lane.Load.Sending = 8)))
            lane.Retire()
            feeder.Nudge()
            do! Waiting.until "the others to be back" (fun () -> Task.FromResult((store.Waiting = 42)))
        }
    ]
