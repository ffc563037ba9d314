module K8sReq.Core.Tests.LaneLoadTests

open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

type private Step =
    | Offer of int64
    | Finish
    | Rest of int64
    | Wake
    | Clear

let private steps =
    Gen.frequency [
        6, Gen.choose (0, 40) |> Gen.map (int64 >> Offer)
        4, Gen.constant Finish
        3, Gen.choose (0, 40) |> Gen.map (int64 >> Rest)
        3, Gen.constant Wake
        1, Gen.constant Clear
    ]
    |> Gen.listOf
    |> Arb.fromGen

let private limitsOf concurrency queueBytes = {
    Concurrency = concurrency
    QueueBytes = queueBytes
}

/// A lane by its sizes: the number that is sent, those that queue, and those that rest.
type private Model = {
    Sending: int
    Waiting: int64 list
    Resting: int64 list
}

// The first that waits takes the place of one that was sent.
let private leave (load: LaneLoad, model: Model) =
    match model.Waiting with
    | first :: rest -> LaneLoad.takeNext first load, { model with Waiting = rest }
    | [] ->
        LaneLoad.finish load,
        {
            model with
                Sending = model.Sending - 1
        }

// Each step on both; the model says what must come of it.
let private step limits (load: LaneLoad, model: Model, isRight: bool) action =
    let isFree = model.Sending < limits.Concurrency && model.Waiting.IsEmpty
    let held = List.sum model.Waiting + List.sum model.Resting

    match action with
    | Offer bytes ->
        let struct (next, admission) = LaneLoad.offer limits bytes load

        let expected, nextModel =
            if isFree then
                Admission.Send,
                {
                    model with
                        Sending = model.Sending + 1
                }
            elif held + bytes <= limits.QueueBytes then
                Admission.Queue,
                {
                    model with
                        Waiting = model.Waiting @ [ bytes ]
                }
            else
                Admission.Overflow, model

        next, nextModel, isRight && admission = expected
    | Finish when model.Sending > 0 ->
        let next, nextModel = leave (load, model)
        next, nextModel, isRight
    | Rest bytes when model.Sending > 0 ->
        match LaneLoad.tryRest limits bytes load with
        | ValueSome resting ->
            let next, nextModel =
                leave (
                    resting,
                    {
                        model with
                            Resting = model.Resting @ [ bytes ]
                    }
                )

            next, nextModel, isRight && held + bytes <= limits.QueueBytes
        | ValueNone -> load, model, isRight && held + bytes > limits.QueueBytes
    | Wake when not model.Resting.IsEmpty ->
        let bytes, rest = model.Resting.Head, model.Resting.Tail
        let struct (next, admission) = LaneLoad.wake limits bytes load

        if isFree then
            next,
            {
                model with
                    Sending = model.Sending + 1
                    Resting = rest
            },
            isRight && admission = Admission.Send
        else
            next,
            {
                model with
                    Waiting = model.Waiting @ [ bytes ]
                    Resting = rest
            },
            isRight && admission = Admission.Queue
    | Finish
    | Rest _
    | Wake -> load, model, isRight
    | Clear -> LaneLoad.clearQueue load, { model with Waiting = [] }, isRight

let private agrees limits (load: LaneLoad, model: Model, isRight: bool) =
    isRight
    && load.Sending = model.Sending
    && load.Queued = model.Waiting.Length
    && load.QueuedBytes = List.sum model.Waiting
    && load.Resting = model.Resting.Length
    && load.RestingBytes = List.sum model.Resting
    && load.Sending <= limits.Concurrency
    && load.WaitingBytes <= limits.QueueBytes
    // Nobody queues while a place is free.
    && (load.Queued = 0 || load.Sending = limits.Concurrency)

let tests =
    testList "LaneLoad" [
        property
            "after any sequence it is what a model of sizes says, within its limits"
            (Prop.forAll steps (fun actions ->
                let limits = limitsOf 3 100L

                let states =
                    actions
                    |> List.scan
                        (step limits)
                        (LaneLoad.empty,
                         {
                             Sending = 0
                             Waiting = []
                             Resting = []
                         },
                         true)

                states |> List.forall (agrees limits)))

        test "a copy larger than the queue is sent where a place is free, and overflows where none is" {
            let limits = limitsOf 1 10L
            let struct (busy, first) = LaneLoad.offer limits 1000L LaneLoad.empty
            let struct (_, second) = LaneLoad.offer limits 11L busy
            Expect.equal (first, second) (Admission.Send, Admission.Overflow) "by its size"
        }

        test "no size overflows the arithmetic" {
            let limits = limitsOf 1 System.Int64.MaxValue
            let struct (busy, _) = LaneLoad.offer limits 1L LaneLoad.empty
            let struct (full, first) = LaneLoad.offer limits System.Int64.MaxValue busy
            let struct (_, second) = LaneLoad.offer limits 1L full
            Expect.equal (first, second) (Admission.Queue, Admission.Overflow) "to the last byte"
        }

        test "a lane has recovered at half its queue" {
            let limits = limitsOf 1 10L

            let load bytes = {
                LaneLoad.empty with
                    QueuedBytes = bytes
            }

            Expect.isTrue (LaneLoad.hasRecovered limits (load 5L)) "half"
            Expect.isFalse (LaneLoad.hasRecovered limits (load 6L)) "more"
        }
    ]
