/// Attempts, and the waits between them. The clock stands still unless a test moves it.
module K8sReq.Proxy.Tests.DeliveryTests

open System
open System.Buffers
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open System.Threading.Tasks.Sources
open Expecto
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy
open K8sReq.TestKit

let private request = TestRequest.get

let private events = {
    Overflowed = ignore
    Recovered = fun _ _ -> ()
}

let private failure = SendResult.ofOutcome (TargetOutcome.Rejected 503)
let private success = SendResult.ofOutcome (TargetOutcome.Delivered 200)

let private retrying retries : Target = {
    Targets.named "a" with
        Delivery = {
            AttemptTimeout = None
            Retry = {
                Retries = retries
                Backoff = BackoffPolicy.Exponential
                Delay = TimeSpan.FromSeconds 1.0
                Longest = TimeSpan.FromSeconds 4.0
                LongestAsked = None
            }
            Durability = None
            WhenFull = FullPolicy.Drop
            ExpireAfter = None
            IsIdentified = false
            DeadLetterKeep = None
            DeadLetterSink = None
        }
}

let private expiringAfter (seconds: float) (target: Target) : Target = {
    target with
        Delivery = {
            target.Delivery with
                ExpireAfter = Some(TimeSpan.FromSeconds seconds)
        }
}

/// Retries come at once.
let private servicesWith (client: Target -> CapturedRequest -> ValueTask<SendResult>) : DeliveryServices = {
    InMemoryDelivery.services (InMemoryDelivery.clientOf client) with
        Jitter = fun () -> 0.0
}

/// One copy over a lane of its own, begun at once.
let private deliver services (target: Target) (id: Guid) (request: CapturedRequest) : Task<TargetOutcome> =
    let lane = target |> Targets.lane { Concurrency = 1; QueueBytes = 100L } events

    match lane.TryEnter 10L with
    | LaneEntry.Entered turn ->
        let accepted =
            AcceptedRequest(request, 10L, services.Clock.GetTimestamp(), null, 1, null, ignore)

        accepted.RequestId <- id
        let delivery = FanOut.deliver services accepted 0 (struct (lane, turn))

        Async.StartImmediateAsTask(
            async {
                let! struct (outcome, _) = delivery
                return outcome
            }
        )
    | entry -> failwith $"{entry}"

/// A lane for one send at a time, and a client whose results a test gives one by one.
type private Bench
    (target: Target, queueBytes: int64, ?maySend: AcceptedRequest -> CancellationToken -> ValueTask<bool>) =
    let results = Channel.CreateUnbounded<SendResult>()
    let mutable attempts = 0
    let mutable retries = 0
    let mutable counted = 0
    let stop = new CancellationTokenSource()

    member val Clock = TestClock()

    member val Lane =
        target
        |> Targets.lane
            {
                Concurrency = 1
                QueueBytes = queueBytes
            }
            events

    member _.Attempts = Volatile.Read &attempts
    /// Attempts that were announced as retries.
    member _.Retries = Volatile.Read &retries
    /// Attempts that were counted when they had ended.
    member _.Counted = Volatile.Read &counted
    member _.Stop() = stop.Cancel()

    member _.Give(result: SendResult) =
        results.Writer.TryWrite result |> ignore

    member bench.Start() : Task<TargetOutcome> =
        let attempted (number: int) (_: TimeSpan) =
            Interlocked.Increment &counted |> ignore

            if number > 1 then
                Interlocked.Increment &retries |> ignore

        let services = {
            Client =
                InMemoryDelivery.clientOf (fun _ _ ->
                    ValueTask<SendResult>(
                        task {
                            if stop.IsCancellationRequested then
                                return SendResult.notTried
                            else
                                Interlocked.Increment &attempts |> ignore

                                try
                                    return! results.Reader.ReadAsync stop.Token
                                with :? OperationCanceledException ->
                                    return SendResult.ofOutcome TargetOutcome.Cancelled
                        }
                    ))
            Clock = bench.Clock
            Jitter = fun () -> 1.0
            Store =
                match maySend with
                | Some maySend -> InMemoryDelivery.storeWith (fun _ -> ValueTask<bool> true) maySend
                | None -> MemoryStore.create ()
            Observer = InMemoryDelivery.observing attempted (fun _ _ _ -> ())
            Unexpected = raise
            PaceRetry = fun _ -> System.TimeSpan.Zero
            Stop = stop.Token
        }

        match bench.Lane.TryEnter 10L with
        | LaneEntry.Entered turn ->
            let durable: DurableCopy[] | null =
                match maySend with
                | Some _ -> [|
                    {
                        Copy = 0
                        Clone = target.Clone
                        IsSpilled = false
                    }
                  |]
                | None -> null

            let accepted =
                AcceptedRequest(request, 10L, bench.Clock.GetTimestamp(), null, 1, durable, ignore)

            async {
                let! struct (outcome, _) =
                    FanOut.deliver services accepted 0 (struct (bench.Lane, turn))

                return outcome
            }
            |> Async.StartAsTask
        | entry -> failwith $"{entry}"

    /// Lets a wait of this length begin and end.
    member bench.Pass(seconds: float) : Task<unit> = task {
        do! bench.Clock.TimerStarted(TimeSpan.FromSeconds seconds)
        bench.Clock.Advance(TimeSpan.FromSeconds seconds)
    }

/// Yes, but not before it is waited for and told.
[<Sealed>]
type private LateAnswer() =
    let awaited =
        TaskCompletionSource<unit -> unit>(TaskCreationOptions.RunContinuationsAsynchronously)

    let mutable isKnown = false

    /// What tells it, once somebody waits.
    member _.Awaited = awaited.Task

    interface IValueTaskSource<bool> with
        member _.GetStatus _ =
            if isKnown then
                ValueTaskSourceStatus.Succeeded
            else
                ValueTaskSourceStatus.Pending

        member _.GetResult _ = true

        member _.OnCompleted(continuation, state, _, _) =
            awaited.SetResult(fun () ->
                isKnown <- true
                continuation.Invoke state)

let private textOf (wire: ReadOnlySequence<byte>) =
    Text.Encoding.Latin1.GetString(wire.ToArray())

let private outcome (delivery: Task<TargetOutcome>) =
    delivery |> Waiting.within "the outcome"

let tests =
    testList "Delivery" [
        testCaseTask "without retries one attempt is all"
        <| fun () -> task {
            let bench = Bench(retrying 0, 100L)
            bench.Give failure
            let! ended = outcome (bench.Start())
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Rejected 503, 1) "failed"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask
            "a copy whose time is over is not sent any more: it expires, when its time is over and not later"
        <| fun () -> task {
            let expiring = expiringAfter 2.5 (retrying 9)

            let bench = Bench(expiring, 100L)
            let delivery = bench.Start()
            bench.Give failure
            do! bench.Pass 1.0
            bench.Give failure
            // The next attempt would have been after two seconds more.
            do! bench.Pass 1.5
            let! ended = outcome delivery

            Expect.equal
                (ended, bench.Attempts)
                (TargetOutcome.Expired(Some(TargetOutcome.Rejected 503)), 2)
                "expired"

            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a copy that waited for its turn until its time was over is not sent at all"
        <| fun () -> task {
            let expiring = expiringAfter 5.0 (retrying 0)

            let bench = Bench(expiring, 100L)
            let first = bench.Start()
            do! Waiting.until "its attempt" (fun () -> Task.FromResult((bench.Attempts = 1)))
            let second = bench.Start()
            bench.Clock.Advance(TimeSpan.FromSeconds 5.0)
            bench.Give success
            let! first = outcome first
            let! second = outcome second
            Expect.equal (first, second) (TargetOutcome.Delivered 200, TargetOutcome.Expired None) "one"
            Expect.equal bench.Attempts 1 "attempt"
        }

        testCaseTask "a copy says which request it is of and which attempt it is where it is asked to, once"
        <| fun () -> task {
            let target = retrying 1

            let identified = {
                target with
                    Delivery = {
                        target.Delivery with
                            IsIdentified = true
                    }
            }

            let sent = Collections.Concurrent.ConcurrentQueue<string>()
            let id = Guid.NewGuid()

            let services =
                servicesWith (fun _ request ->
                    sent.Enqueue(textOf request.Wire)
                    ValueTask<SendResult>(if sent.Count = 1 then failure else success))

            // A sender that writes such a field itself is not believed.
            let forged =
                CapturedRequest.withHead
                    (HeadChange.adding [| struct ("k8sreq-request-id", "forged") |])
                    (TestRequest.post "K8sReq-Attempt: 7"B)

            let! ended = deliver services identified id forged |> Waiting.within "the outcome"
            Expect.equal ended (TargetOutcome.Delivered 200) "delivered"

            let expected attempt =
                $"POST / HTTP/1.1\r\nHost: a.example\r\nX-Test: 1\r\nVia: 1.1 k8sreq\r\nContent-Length: 17\r\nK8sReq-Request-Id: {id}\r\nK8sReq-Attempt: {attempt}\r\n\r\nK8sReq-Attempt: 7"

            Expect.equal
                (List.ofSeq sent)
                [ expected 1; expected 2 ]
                "the same id, and the number of the attempt"
        }

        testCaseTask
            "what an attempt sends stays as it is until the attempt has ended, whatever else is sent meanwhile"
        <| fun () -> task {
            let filtered = {
                Targets.named "a" with
                    Edit = HeadEdit.ofFilters [ CopyFilter.Headers([ struct ("X-Env", "ci") ], [], []) ]
            }

            let underWay =
                Collections.Concurrent.ConcurrentQueue<
                    struct (CapturedRequest * TaskCompletionSource<SendResult>)
                 >()

            let services =
                servicesWith (fun _ request ->
                    let ending = TaskCompletionSource<SendResult>()
                    underWay.Enqueue(struct (request, ending))
                    ValueTask<SendResult> ending.Task)

            let start (body: string) =
                deliver services filtered Guid.Empty (TestRequest.post (Text.Encoding.ASCII.GetBytes body))

            let bodies () = [
                for struct (request, _) in underWay do
                    let sent = textOf request.Wire
                    Expect.stringContains sent "\r\nX-Env: ci\r\n" "filtered"
                    sent.Split("\r\n\r\n")[1]
            ]

            let endFirst () =
                match underWay.TryDequeue() with
                | true, struct (_, ending) -> ending.SetResult success
                | _ -> failwith "nothing is under way"

            let first = [ for body in [ "first"; "other"; "third" ] -> start body ]
            Expect.equal (bodies ()) [ "first"; "other"; "third" ] "three"
            endFirst ()
            let next = start "later"
            Expect.equal (bodies ()) [ "other"; "third"; "later" ] "one has ended, and another has come"

            for _ in 1..3 do
                endFirst ()

            let! ended = Task.WhenAll(next :: first) |> Waiting.within "the outcomes"
            Expect.allEqual ended (TargetOutcome.Delivered 200) "all"
        }

        testCaseTask "a copy that fails is sent again after growing waits, until it is delivered"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            let delivery = bench.Start()

            for wait in [ 1.0; 2.0; 4.0; 4.0 ] do
                bench.Give failure
                do! bench.Pass wait

            bench.Give success
            let! ended = outcome delivery

            Expect.equal
                (ended, bench.Attempts, bench.Retries)
                (TargetOutcome.Delivered 200, 5, 4)
                "at the fifth attempt"

            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "when the attempts are used up the last outcome stands"
        <| fun () -> task {
            let bench = Bench(retrying 1, 100L)
            let delivery = bench.Start()
            bench.Give failure
            do! bench.Pass 1.0
            bench.Give(SendResult.ofOutcome (TargetOutcome.Rejected 500))
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Rejected 500, 2) "two attempts"
        }

        testCaseTask "410 ends it"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            bench.Give(SendResult.ofOutcome (TargetOutcome.Rejected 410))
            let! ended = outcome (bench.Start())
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Rejected 410, 1) "one attempt"
        }

        testCaseTask "Retry-After is waited for, up to the longest time"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            let delivery = bench.Start()

            for wanted, wait in [ 3.0, 3.0; 60.0, 4.0 ] do
                bench.Give {
                    failure with
                        RetryAfter = ValueSome(TimeSpan.FromSeconds wanted)
                }

                do! bench.Pass wait

            bench.Give success
            let! ended = outcome delivery
            Expect.equal ended (TargetOutcome.Delivered 200) "delivered"
        }

        testCaseTask "a copy between two attempts holds no place, but its bytes count"
        <| fun () -> task {
            let bench = Bench(retrying 5, 15L)
            let first = bench.Start()
            bench.Give failure
            do! bench.Clock.TimerStarted(TimeSpan.FromSeconds 1.0)
            Expect.equal (bench.Lane.Load.Sending, bench.Lane.Load.WaitingBytes) (0, 10L) "it rests"
            let second = bench.Start()

            match bench.Lane.TryEnter 10L with
            | LaneEntry.Full -> ()
            | entry -> failtest $"{entry}"

            bench.Give success
            let! ended = outcome second
            Expect.equal ended (TargetOutcome.Delivered 200) "another was sent meanwhile"
            bench.Clock.Advance(TimeSpan.FromSeconds 1.0)
            bench.Give success
            let! ended = outcome first
            Expect.equal ended (TargetOutcome.Delivered 200) "and then it was"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask
            "a copy for which there is no room to wait is dropped, and says what its last attempt came to"
        <| fun () -> task {
            let bench = Bench(retrying 5, 5L)
            bench.Give failure
            let! ended = outcome (bench.Start())
            let dropped = TargetOutcome.NoRoomToRetry(TargetOutcome.Rejected 503)
            Expect.equal (ended, bench.Attempts) (dropped, 1) "dropped"
            Expect.isTrue (TargetOutcome.isDropped ended) "and counted so"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a copy that rests when its target is no longer routed is not sent again"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            let delivery = bench.Start()
            bench.Give failure
            do! bench.Clock.TimerStarted(TimeSpan.FromSeconds 1.0)
            bench.Lane.Retire()
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Cancelled, 1) "given up at once"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a copy that fails when its target is no longer routed is not sent again"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            let delivery = bench.Start()
            bench.Lane.Retire()
            bench.Give failure
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Cancelled, 1) "it would have been sent again"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "the end of the process ends the wait and the copy"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            let delivery = bench.Start()
            bench.Give failure
            do! bench.Clock.TimerStarted(TimeSpan.FromSeconds 1.0)
            bench.Stop()
            let! ended = outcome delivery
            Expect.equal ended TargetOutcome.Cancelled "given up"
            Expect.equal (bench.Attempts, bench.Counted, bench.Retries) (1, 1, 0) "one attempt, no retry"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a copy that another replica has is not sent, and ends as taken over"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L, (fun _ _ -> ValueTask<bool> false))
            let! ended = bench.Start() |> outcome
            Expect.equal ended TargetOutcome.TakenOver "taken over"
            Expect.equal (bench.Attempts, bench.Counted) (0, 0) "nothing was sent"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a copy waits until it is known whether it may be sent, before each attempt"
        <| fun () -> task {
            let answers = Channel.CreateUnbounded<bool>()

            let bench = Bench(retrying 5, 100L, (fun _ stop -> answers.Reader.ReadAsync stop))

            let delivery = bench.Start()
            Expect.equal bench.Attempts 0 "it is not known"
            answers.Writer.TryWrite true |> ignore
            bench.Give failure
            do! bench.Pass 1.0
            Expect.equal bench.Attempts 1 "nor for the second attempt"
            answers.Writer.TryWrite false |> ignore
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.TakenOver, 1) "it is another's by now"
        }

        testCaseTask
            "a copy whose time is over, or whose target is no longer routed, when that is known is not sent"
        <| fun () -> task {
            let start (target: Target) = task {
                let answer = LateAnswer()
                let bench = Bench(target, 100L, (fun _ _ -> ValueTask<bool>(answer, 0s)))
                let delivery = bench.Start()
                let! tell = answer.Awaited |> Waiting.within "the copy to wait"
                return bench, tell, delivery
            }

            let! bench, tell, delivery = start (expiringAfter 5.0 (retrying 5))
            bench.Clock.Advance(TimeSpan.FromSeconds 6.0)
            tell ()
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Expired None, 0) "its time is over"

            let! bench, tell, delivery = start (retrying 5)
            bench.Lane.Retire()
            tell ()
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Cancelled, 0) "nobody is there"
        }

        testCaseTask "a copy of which that is not known at the end of the process goes back to the store"
        <| fun () -> task {
            let never = TaskCompletionSource<bool>()

            let bench =
                Bench(retrying 5, 100L, (fun _ stop -> ValueTask<bool>(never.Task.WaitAsync stop)))

            let delivery = bench.Start()
            bench.Stop()
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Cancelled, 0) "not sent"
            Expect.equal bench.Lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "how a target is delivered to may change while a copy rests"
        <| fun () -> task {
            let bench = Bench(retrying 5, 100L)
            let delivery = bench.Start()
            bench.Give failure
            do! bench.Clock.TimerStarted(TimeSpan.FromSeconds 1.0)
            bench.Lane.Update(retrying 0)
            bench.Clock.Advance(TimeSpan.FromSeconds 1.0)
            bench.Give failure
            let! ended = outcome delivery
            Expect.equal (ended, bench.Attempts) (TargetOutcome.Rejected 503, 2) "no third attempt"
        }

        testCaseTask "over real sockets: a target that fails twice has the copy at the third attempt"
        <| fun () -> task {
            let mutable answered = 0

            use target =
                new TestTarget(fun keep stream reader -> task {
                    let mutable isOpen = true

                    while isOpen do
                        match! reader.Read() with
                        | None -> isOpen <- false
                        | Some message ->
                            keep message

                            let status =
                                if Interlocked.Increment &answered < 3 then
                                    "503 No"
                                else
                                    "200 OK"

                            let answer =
                                Text.Encoding.ASCII.GetBytes
                                    $"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"

                            do! stream.WriteAsync(answer, 0, answer.Length)
                })

            let manifests =
                (Manifests.route "a.example" [ target.Port ])
                    .Replace(
                        "servicePort: http}",
                        "servicePort: http}, delivery: {retry: 5, backoffDelay: 1ms, backoffMax: 2ms}"
                    )

            use! proxy = TestProxy.Start manifests

            let! answer =
                TestClient.roundTrip
                    proxy.Port
                    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"

            Expect.equal (TestClient.status answer) 202 "accepted"
            let! copies = target.Take 3
            Expect.equal (copies |> List.map _.Text) [ "abc"; "abc"; "abc" ] "the same each time"
            do! proxy.Settled()
            let totals = proxy.Totals

            Expect.equal
                (totals.Accepted, totals.Delivered, totals.Retries)
                (1L, 1L, 2L)
                "one copy, delivered"
        }
    ]
