module K8sReq.Core.Tests.LaneLoadTests

open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

type private Step =
    | Offer of int64
    | Finish
    | Rest
    | Wake
    | Clear

let private steps =
    Gen.frequency [
        6, Gen.choose (0, 120) |> Gen.map (int64 >> Offer)
        4, Gen.constant Finish
        3, Gen.constant Rest
        3, Gen.constant Wake
        1, Gen.constant Clear
    ]
    |> Gen.listOf
    |> Arb.fromGen

let private limitsOf concurrency queueBytes = {
    Concurrency = concurrency
    QueueBytes = queueBytes
}

/// A lane by its sizes: those that are sent, those that queue, and those that rest.
type private Model = {
    Sending: int64 list
    Waiting: int64 list
    Parked: int64 list
}

let private isFree limits bytes (model: Model) =
    model.Sending.IsEmpty
    || (model.Sending.Length < limits.Concurrency
        && List.sum model.Sending + bytes <= limits.QueueBytes)

// Those that wait are sent in their order, for as long as there is a place for the next one.
let rec private sendNext limits (load: LaneLoad, model: Model, isRight: bool) =
    match model.Waiting with
    | [] -> load, model, isRight
    | first :: rest ->
        match LaneLoad.trySendNext limits first load, isFree limits first model with
        | ValueSome sending, true ->
            sendNext
                limits
                (sending,
                 {
                     model with
                         Sending = first :: model.Sending
                         Waiting = rest
                 },
                 isRight)
        | ValueNone, false -> load, model, isRight
        | _ -> load, model, false

// The one that has been sent for the longest time has ended.
let private leave limits (load: LaneLoad, model: Model, isRight: bool) =
    let ended = List.last model.Sending

    sendNext
        limits
        (LaneLoad.finish ended load,
         {
             model with
                 Sending = model.Sending |> List.take (model.Sending.Length - 1)
         },
         isRight)

// Each step on both; the model says what must come of it.
let private step limits (load: LaneLoad, model: Model, isRight: bool) action =
    let held = List.sum model.Waiting + List.sum model.Parked

    let isSent bytes =
        model.Waiting.IsEmpty && isFree limits bytes model

    match action with
    | Offer bytes ->
        let struct (next, admission) = LaneLoad.offer limits bytes load

        let expected, nextModel =
            if isSent bytes then
                LaneAdmission.Send,
                {
                    model with
                        Sending = bytes :: model.Sending
                }
            elif held + bytes <= limits.QueueBytes then
                LaneAdmission.Queue,
                {
                    model with
                        Waiting = model.Waiting @ [ bytes ]
                }
            else
                LaneAdmission.Overflow, model

        next, nextModel, isRight && admission = expected
    | Finish when not model.Sending.IsEmpty -> leave limits (load, model, isRight)
    | Rest when not model.Sending.IsEmpty ->
        let bytes = List.last model.Sending

        match LaneLoad.tryPark limits bytes load with
        | ValueSome parked ->
            leave
                limits
                (parked,
                 {
                     model with
                         Parked = model.Parked @ [ bytes ]
                 },
                 isRight && held + bytes <= limits.QueueBytes)
        | ValueNone -> load, model, isRight && held + bytes > limits.QueueBytes
    | Wake when not model.Parked.IsEmpty ->
        let bytes, rest = model.Parked.Head, model.Parked.Tail
        let struct (next, admission) = LaneLoad.unpark limits bytes load

        if isSent bytes then
            next,
            {
                model with
                    Sending = bytes :: model.Sending
                    Parked = rest
            },
            isRight && admission = LaneAdmission.Send
        else
            next,
            {
                model with
                    Waiting = model.Waiting @ [ bytes ]
                    Parked = rest
            },
            isRight && admission = LaneAdmission.Queue
    | Finish
    | Rest
    | Wake -> load, model, isRight
    | Clear -> LaneLoad.clearQueue load, { model with Waiting = [] }, isRight

let private agrees limits (load: LaneLoad, model: Model, isRight: bool) =
    isRight
    && load.Sending = model.Sending.Length
    && load.SendingBytes = List.sum model.Sending
    && load.Queued = model.Waiting.Length
    && load.QueuedBytes = List.sum model.Waiting
    && load.Parked = model.Parked.Length
    && load.ParkedBytes = List.sum model.Parked
    && load.Sending <= limits.Concurrency
    && load.WaitingBytes <= limits.QueueBytes
    // One copy alone may be larger.
    && (load.Sending = 1 || load.SendingBytes <= limits.QueueBytes)
    // Nobody queues while there is a place.
    && (model.Waiting.IsEmpty || not (isFree limits model.Waiting.Head model))

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
                             Sending = []
                             Waiting = []
                             Parked = []
                         },
                         true)

                states |> List.forall (agrees limits)))

        test "a copy larger than the queue is sent where a place is free, and overflows where none is" {
            let limits = limitsOf 1 10L
            let struct (busy, first) = LaneLoad.offer limits 1000L LaneLoad.empty
            let struct (_, second) = LaneLoad.offer limits 11L busy
            Expect.equal (first, second) (LaneAdmission.Send, LaneAdmission.Overflow) "by its size"
        }

        test "what is being sent has no more bytes than what may wait, however many sends there may be" {
            let limits = limitsOf 256 10L
            let struct (one, first) = LaneLoad.offer limits 6L LaneLoad.empty
            let struct (two, second) = LaneLoad.offer limits 6L one
            let struct (three, third) = LaneLoad.offer limits 1L two

            Expect.equal
                (first, second, third)
                (LaneAdmission.Send, LaneAdmission.Queue, LaneAdmission.Queue)
                "in their order"

            let ended = LaneLoad.finish 6L three
            let sent = LaneLoad.trySendNext limits 6L ended |> ValueOption.get
            let both = LaneLoad.trySendNext limits 1L sent |> ValueOption.get
            Expect.equal (both.Sending, both.SendingBytes, both.Queued) (2, 7L, 0) "both of them"
        }

        test "no size overflows the arithmetic" {
            let limits = limitsOf 1 System.Int64.MaxValue
            let struct (busy, _) = LaneLoad.offer limits System.Int64.MaxValue LaneLoad.empty
            let struct (full, first) = LaneLoad.offer limits System.Int64.MaxValue busy
            let struct (_, second) = LaneLoad.offer limits 1L full
            Expect.equal (first, second) (LaneAdmission.Queue, LaneAdmission.Overflow) "to the last byte"
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
