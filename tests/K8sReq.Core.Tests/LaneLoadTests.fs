module K8sReq.Core.Tests.LaneLoadTests

open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

type private Step =
    | Offer of int64
    | Finish
    | Clear

let private steps =
    Gen.frequency [
        6, Gen.choose (0, 40) |> Gen.map (int64 >> Offer)
        5, Gen.constant Finish
        1, Gen.constant Clear
    ]
    |> Gen.listOf
    |> Arb.fromGen

let private limitsOf concurrency queueBytes = {
    Concurrency = concurrency
    QueueBytes = queueBytes
}

/// A lane by its sizes: those that are sent, and those that wait.
type private Model = { Sending: int; Waiting: int64 list }

// Each step on both; the model says what must come of it.
let private step limits (load: LaneLoad, model: Model, isRight: bool) action =
    match action with
    | Offer bytes ->
        let struct (next, admission) = LaneLoad.offer limits bytes load

        let expected, nextModel =
            if model.Sending < limits.Concurrency && model.Waiting.IsEmpty then
                Admission.Send,
                {
                    model with
                        Sending = model.Sending + 1
                }
            elif List.sum model.Waiting + bytes <= limits.QueueBytes then
                Admission.Queue,
                {
                    model with
                        Waiting = model.Waiting @ [ bytes ]
                }
            else
                Admission.Overflow, model

        next, nextModel, isRight && admission = expected
    | Finish ->
        match model.Sending, model.Waiting with
        | 0, _ -> load, model, isRight
        | _, first :: rest -> LaneLoad.takeNext first load, { model with Waiting = rest }, isRight
        | _, [] ->
            LaneLoad.finish load,
            {
                model with
                    Sending = model.Sending - 1
            },
            isRight
    | Clear -> LaneLoad.clearQueue load, { model with Waiting = [] }, isRight

let private agrees limits (load: LaneLoad, model: Model, isRight: bool) =
    isRight
    && load.Sending = model.Sending
    && load.Queued = model.Waiting.Length
    && load.QueuedBytes = List.sum model.Waiting
    && load.Sending <= limits.Concurrency
    && load.QueuedBytes <= limits.QueueBytes
    // Nobody waits while a place is free.
    && (load.Queued = 0 || load.Sending = limits.Concurrency)

let tests =
    testList "LaneLoad" [
        property
            "after any sequence it is what a model of sizes says, within its limits"
            (Prop.forAll steps (fun actions ->
                let limits = limitsOf 3 100L

                let states =
                    actions
                    |> List.scan (step limits) (LaneLoad.empty, { Sending = 0; Waiting = [] }, true)

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
