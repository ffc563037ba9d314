module K8sReq.Proxy.Tests.FanOutTests

open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy
open K8sReq.TestKit

let private request = TestRequest.post "abc"B

let private events = {
    Overflowed = ignore
    Recovered = fun _ _ -> ()
}

let private laneOf name =
    Targets.named name
    |> Targets.lane
        {
            Concurrency = 1
            QueueBytes = 10_000L
        }
        events

// The copy's turn is now.
let private enter (lane: Lane) : LaneSlot =
    match lane.TryEnter 3L with
    | LaneEntry.Entered turn -> struct (lane, turn)
    | entry -> failwith $"{entry}"

// One attempt each: the clock is never asked, and nobody waits between attempts.
let private accepted copies release =
    AcceptedRequest(request, 3L, 0L, null, copies, null, release)

let private services (client: Target -> CapturedRequest -> CancellationToken -> Async<TargetOutcome>) =
    InMemoryDelivery.clientOf (fun target request ->
        async {
            let! outcome = client target request CancellationToken.None
            return SendResult.ofOutcome outcome
        }
        |> Async.StartAsTask
        |> ValueTask<SendResult>)
    |> InMemoryDelivery.services

/// Runs a fan-out over these places: outcomes by the targets' names, and how often the memory was given back.
let private runIn client (slots: LaneSlot list) = task {
    let outcomes = ConcurrentDictionary<string, TargetOutcome>()
    let mutable releases = 0

    let released =
        TaskCompletionSource<unit>(TaskCreationOptions.RunContinuationsAsynchronously)

    let report (lane: Lane) outcome _ =
        Expect.equal releases 0 "released after the last report"
        Expect.isTrue (outcomes.TryAdd(lane.Target.Clone.Name, outcome)) "reported once"

    let release () =
        releases <- releases + 1
        released.TrySetResult(()) |> ignore

    let services = {
        services client with
            Observer = InMemoryDelivery.observing (fun _ _ -> ()) report
    }


    FanOut.start services (accepted slots.Length release) (ResizeArray slots)
    do! released.Task |> Waiting.within "the release"
    return outcomes, releases
}

let private run client names =
    runIn client (names |> List.map (laneOf >> enter))

let tests =
    testList "FanOut" [
        testCaseTask "every target gets the request and has its outcome; the memory is given back once"
        <| fun () -> task {
            let! outcomes, releases =
                run (fun target _ _ -> async { return TargetOutcome.Delivered target.Clone.Name.Length }) [
                    "a"
                    "bb"
                    "ccc"
                ]

            Expect.equal outcomes["bb"] (TargetOutcome.Delivered 2) "its own"
            Expect.equal (outcomes.Count, releases) (3, 1) "all, once"
        }

        testCaseTask "a send that throws, at once or later, touches no sibling"
        <| fun () -> task {
            let client: Target -> CapturedRequest -> CancellationToken -> Async<TargetOutcome> =
                fun target _ _ ->
                    match target.Clone.Name with
                    | "throws" -> failwith "at once"
                    | "faults" -> async {
                        do! Async.Sleep 1
                        return failwith "later"
                      }
                    | _ -> async {
                        do! Async.Sleep 20
                        return TargetOutcome.Delivered 200
                      }

            let! outcomes, releases = run client [ "throws"; "good"; "faults" ]
            Expect.equal outcomes["throws"] (TargetOutcome.Faulted "at once") "its outcome says so"
            Expect.equal outcomes["faults"] (TargetOutcome.Faulted "later") "its outcome says so"
            Expect.equal outcomes["good"] (TargetOutcome.Delivered 200) "not cancelled"
            Expect.equal releases 1 "once"
        }

        testCaseTask "a send leaves its lane, whatever its end, and a copy that waits there is sent then"
        <| fun () -> task {
            let lane = laneOf "a"
            let first = enter lane
            let second = enter lane
            let mutable sends = 0

            let client: Target -> CapturedRequest -> CancellationToken -> Async<TargetOutcome> =
                fun _ _ _ -> async {
                    sends <- sends + 1

                    if sends = 1 then
                        failwith "the first"

                    return TargetOutcome.Delivered 200
                }

            let waiting = runIn client [ second ]
            Expect.isFalse waiting.IsCompleted "it waits for the first"
            let! outcomes, _ = runIn client [ first ]
            Expect.equal outcomes["a"] (TargetOutcome.Faulted "the first") "failed"
            let! outcomes, releases = waiting |> Waiting.within "the second"
            Expect.equal outcomes["a"] (TargetOutcome.Delivered 200) "sent"
            Expect.equal releases 1 "once"
            Expect.equal lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a copy that waits in a lane that is retired is cancelled and not sent"
        <| fun () -> task {
            let lane = laneOf "a"
            let _ = enter lane
            let waiting = runIn (fun _ _ _ -> failwith "sent") [ enter lane ]
            lane.Retire()
            let! outcomes, releases = waiting |> Waiting.within "the outcome"
            Expect.equal (outcomes["a"], releases) (TargetOutcome.Cancelled, 1) "given up"
        }

        testCaseTask "what observes copies may throw: each copy ends once, and the memory is given back"
        <| fun () -> task {
            let mutable unexpected = 0
            let mutable releases = 0
            let mutable reports = 0

            let released =
                TaskCompletionSource<unit>(TaskCreationOptions.RunContinuationsAsynchronously)

            let report _ _ _ =
                Interlocked.Increment &reports |> ignore
                failwith "report"

            let services = {
                services (fun _ _ _ -> async { return TargetOutcome.Delivered 200 }) with
                    Observer = InMemoryDelivery.observing (fun _ _ -> failwith "attempted") report
                    Unexpected = fun _ -> Interlocked.Increment &unexpected |> ignore
            }

            let release () =
                Interlocked.Increment &releases |> ignore
                released.TrySetResult(()) |> ignore

            let lane = laneOf "a"
            // One is sent at once, the other waits for it.
            let slots = ResizeArray [ enter lane; enter lane ]
            FanOut.start services (accepted 2 release) slots
            do! released.Task |> Waiting.within "the release"
            Expect.equal (reports, unexpected, releases) (2, 4, 1) "each was told of"
            Expect.equal lane.Load LaneLoad.empty "and the lane is empty"
        }

        testCaseTask "a clock that throws leaves no copy without an end"
        <| fun () -> task {
            let mutable releases = 0
            let reported = ConcurrentQueue<TargetOutcome>()

            let released =
                TaskCompletionSource<unit>(TaskCreationOptions.RunContinuationsAsynchronously)

            let services = {
                services (fun _ _ _ -> async { return TargetOutcome.Rejected 503 }) with
                    Clock = {
                        new System.TimeProvider() with
                            override _.GetTimestamp() = failwith "no time"
                    }
                    Jitter = fun () -> failwith "no jitter"
                    Observer =
                        InMemoryDelivery.observing (fun _ _ -> ()) (fun _ outcome _ ->
                            reported.Enqueue outcome)
                    Unexpected = ignore
            }

            let release () =
                Interlocked.Increment &releases |> ignore
                released.TrySetResult(()) |> ignore

            let lane =
                Targets.named "a" |> Targets.lane { Concurrency = 1; QueueBytes = 100L } events

            let slots = ResizeArray [ enter lane; enter lane ]
            FanOut.start services (accepted 2 release) slots

            do! released.Task |> Waiting.within "the release"
            let failed = TargetOutcome.Rejected 503
            Expect.equal (List.ofSeq reported, releases) ([ failed; failed ], 1) "as the target answered"
            Expect.equal lane.Load LaneLoad.empty "and the lane is empty"
        }

        test "the clock is read once for the end of an attempt and of the copy that ends with it" {
            let mutable readings = 0
            let ended = ConcurrentQueue<string * System.TimeSpan>()
            let seconds = System.TimeProvider.System.TimestampFrequency

            let services = {
                services (fun _ _ _ -> async { return TargetOutcome.Delivered 200 }) with
                    Client =
                        InMemoryDelivery.clientOf (fun _ _ ->
                            ValueTask<SendResult>(SendResult.ofOutcome (TargetOutcome.Delivered 200)))
                    Clock = {
                        new System.TimeProvider() with
                            override _.GetTimestamp() =
                                readings <- readings + 1
                                int64 readings * seconds
                    }
                    Observer =
                        InMemoryDelivery.observing
                            (fun _ duration -> ended.Enqueue("attempt", duration))
                            (fun _ _ duration -> ended.Enqueue("copy", duration))
            }

            FanOut.start services (accepted 1 ignore) (ResizeArray [ enter (laneOf "a") ])
            let second = System.TimeSpan.FromSeconds 1.0
            Expect.equal (List.ofSeq ended) [ "attempt", second; "copy", second ] "of the same length"
            Expect.equal readings 1 "one reading"
        }

        testCaseTask "the direct way comes to the outcomes of Async.Parallel over the same deliveries"
        <| fun () -> task {
            let random = System.Random 11

            // What a target does: at once or later, good or bad, or it throws.
            let client: Target -> CapturedRequest -> CancellationToken -> Async<TargetOutcome> =
                fun target _ _ ->
                    match target.Clone.Name.Split('-')[0] with
                    | "throws" -> failwith "at once"
                    | "faults" -> async { return failwith "later" }
                    | "late" -> async {
                        do! Async.SwitchToThreadPool()
                        return TargetOutcome.Delivered 202
                      }
                    | "refuses" -> async { return TargetOutcome.Rejected 503 }
                    | _ -> async { return TargetOutcome.Delivered 200 }

            for round in 1..50 do
                let names = [
                    for n in 1 .. random.Next(1, 8) ->
                        let kind =
                            random.GetItems([| "throws"; "faults"; "late"; "refuses"; "good" |], 1)[0]

                        $"{kind}-{n}"
                ]

                let! direct, _ = run client names
                let slots = names |> List.map (laneOf >> enter)
                let request = accepted slots.Length ignore

                let! inParallel =
                    slots
                    |> List.mapi (FanOut.deliver (services client) request)
                    |> Async.Parallel
                    |> Async.StartAsTask
                    |> Waiting.within "all of them"

                let expected =
                    inParallel
                    |> Array.map (fun (struct (outcome, _)) -> outcome)
                    |> Array.zip (Array.ofList names)
                    |> Map.ofArray

                let actual = direct |> Seq.map (fun pair -> pair.Key, pair.Value) |> Map.ofSeq
                Expect.equal actual expected $"round {round}: {names}"
        }

        for name, append in
            [
                "that refuses", (fun _ -> ValueTask<bool> false)
                "that refuses later",
                (fun _ ->
                    ValueTask<bool>(
                        task {
                            do! Task.Yield()
                            return false
                        }
                    ))
                "that throws", (fun _ -> ValueTask<bool>(Task.FromException<bool>(exn "no disk")))
            ] do
            testCaseTask
                $"a store {name}: nothing is sent or accepted, nothing is held, and the client is told"
            <| fun () -> task {
                let bare = BarePipeline.services Tracing.Off
                let budget = BufferBudget 1_000_000L
                let failed = ConcurrentQueue<string>()
                let lanes = [| laneOf "a"; laneOf "b" |]

                let hosts =
                    HostMap.ofSeq [ (Targets.named "a").Host, HostEntry(lanes, BudgetShare.ofHost ()) ]

                let services = {
                    bare with
                        Hosts = fun () -> hosts
                        Budget = budget
                        Failed = fun error -> failed.Enqueue error.Message
                        Delivery = {
                            bare.Delivery with
                                Client = TargetClient(fun _ _ -> failwith "sent")
                                Store = InMemoryDelivery.storeWith append (fun _ _ -> ValueTask<bool> true)
                        }
                }

                let ctx = BarePipeline.request "GET"
                let! _ = DuplicateHandler.create services earlyReturn ctx
                Expect.equal ctx.Response.StatusCode 503 "refused"
                Expect.equal (string ctx.Response.Headers.RetryAfter) "1" "to be sent again"
                Expect.equal services.Accounts.Totals CopyTotals.zero "nothing was accepted"
                Expect.equal budget.Used 0L "the memory is given back"

                for lane in lanes do
                    Expect.equal lane.Load LaneLoad.empty "and so are the slots"

                Expect.equal
                    (List.ofSeq failed)
                    (if name = "that throws" then [ "no disk" ] else [])
                    "told of"
            }

        testCaseTask "sends are under way at the same time"
        <| fun () -> task {
            // Each waits for the other: one after the other would never end.
            let here, there = TaskCompletionSource(), TaskCompletionSource()

            let client: Target -> CapturedRequest -> CancellationToken -> Async<TargetOutcome> =
                fun target _ _ -> async {
                    let mine, other = if target.Clone.Name = "a" then here, there else there, here
                    mine.SetResult()
                    do! other.Task |> Async.AwaitTask
                    return TargetOutcome.Delivered 200
                }

            let! outcomes, _ = run client [ "a"; "b" ] |> Waiting.within "both sends"
            Expect.equal outcomes.Count 2 "both"
        }
    ]
