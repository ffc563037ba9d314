module K8sReq.Core.Tests.DeliveryStepTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private failed = TargetOutcome.Rejected 503
let private delivered = TargetOutcome.Delivered 200

let private policy retries = {
    DeliveryPolicy.byDefault.Retry with
        Retries = retries
        Delay = TimeSpan.FromSeconds 1.0
}

let private attempt outcome = {
    Outcome = outcome
    IsAttempt = true
    RetryAfter = ValueNone
    Jitter = 1.0
    MayRetry = true
    Left = TimeSpan.MaxValue
}

let private state phase attempts last = {
    Phase = phase
    IsDurable = false
    Copy = {
        Attempts = attempts
        Outcome = last
        IsEnded = (phase = DeliveryPhase.Ended)
    }
}

// One state of each phase, as a copy with two retries may have it.
let private states = [
    state DeliveryPhase.Queued 0 ValueNone
    state DeliveryPhase.Sending 1 (ValueSome failed)
    state DeliveryPhase.Backoff 1 (ValueSome failed)
    state DeliveryPhase.Ended 1 (ValueSome delivered)
]

let private signals = [
    "turn came", DeliverySignal.TurnCame
    "turn lost", DeliverySignal.TurnLost
    "delivered", DeliverySignal.Delivered delivered
    "delivered, as any other end", DeliverySignal.AttemptEnded(attempt delivered)
    "failed", DeliverySignal.AttemptEnded(attempt failed)
    "failed, no retry of use", DeliverySignal.AttemptEnded { attempt failed with MayRetry = false }
    "expired", DeliverySignal.Expired
    "taken over", DeliverySignal.TakenOver
    "failed, and its time is over",
    DeliverySignal.AttemptEnded {
        attempt failed with
            Left = TimeSpan.Zero
    }
    "failed, and its time is nearly over",
    DeliverySignal.AttemptEnded {
        attempt failed with
            Left = TimeSpan.FromSeconds 0.5
    }
    "refused for good", DeliverySignal.AttemptEnded(attempt (TargetOutcome.Rejected 410))
    "not tried",
    DeliverySignal.AttemptEnded {
        attempt TargetOutcome.Cancelled with
            IsAttempt = false
    }
    "park refused", DeliverySignal.ParkRefused(TimeSpan.FromSeconds 7.0)
    "backoff ended", DeliverySignal.BackoffEnded
]

// What changes something; every other pair of a state and a signal changes nothing.
let private table = [
    (DeliveryPhase.Queued, "turn came"), (DeliveryPhase.Sending, DeliveryAction.Send 1, 0)
    (DeliveryPhase.Queued, "turn lost"), (DeliveryPhase.Ended, DeliveryAction.End TargetOutcome.Cancelled, 0)
    (DeliveryPhase.Sending, "delivered"), (DeliveryPhase.Ended, DeliveryAction.End delivered, 2)
    (DeliveryPhase.Sending, "delivered, as any other end"),
    (DeliveryPhase.Ended, DeliveryAction.End delivered, 2)
    (DeliveryPhase.Sending, "failed"),
    (DeliveryPhase.Backoff, DeliveryAction.Park(TimeSpan.FromSeconds 2.0), 2)
    (DeliveryPhase.Sending, "failed, no retry of use"),
    (DeliveryPhase.Ended, DeliveryAction.End TargetOutcome.Cancelled, 2)
    (DeliveryPhase.Queued, "expired"),
    (DeliveryPhase.Ended, DeliveryAction.End(TargetOutcome.Expired None), 0)
    (DeliveryPhase.Sending, "failed, and its time is over"),
    (DeliveryPhase.Ended, DeliveryAction.End(TargetOutcome.Expired(Some failed)), 2)
    (DeliveryPhase.Sending, "failed, and its time is nearly over"),
    (DeliveryPhase.Backoff, DeliveryAction.Park(TimeSpan.FromSeconds 0.5), 2)
    (DeliveryPhase.Sending, "refused for good"),
    (DeliveryPhase.Ended, DeliveryAction.End(TargetOutcome.Rejected 410), 2)
    (DeliveryPhase.Sending, "not tried"), (DeliveryPhase.Ended, DeliveryAction.End TargetOutcome.Cancelled, 1)
    (DeliveryPhase.Sending, "expired"),
    (DeliveryPhase.Ended, DeliveryAction.End(TargetOutcome.Expired(Some failed)), 1)
    (DeliveryPhase.Sending, "taken over"),
    (DeliveryPhase.Ended, DeliveryAction.End TargetOutcome.TakenOver, 1)
    (DeliveryPhase.Backoff, "park refused"),
    (DeliveryPhase.Ended, DeliveryAction.End(TargetOutcome.NoRoomToRetry failed), 1)
    (DeliveryPhase.Backoff, "backoff ended"), (DeliveryPhase.Queued, DeliveryAction.Queue, 1)
]

// Where a durable copy goes back to the store instead of being given up: so long it waits there at least.
let private shelved = [
    (DeliveryPhase.Queued, "turn lost"), (TimeSpan.Zero, 0)
    (DeliveryPhase.Sending, "failed, no retry of use"), (TimeSpan.FromSeconds 2.0, 2)
    (DeliveryPhase.Sending, "not tried"), (TimeSpan.Zero, 1)
    (DeliveryPhase.Backoff, "park refused"), (TimeSpan.FromSeconds 7.0, 1)
]

/// A signal that may come at any time, in any order.
let private anySignal =
    Gen.frequency [
        4, Gen.constant DeliverySignal.TurnCame
        1, Gen.constant DeliverySignal.TurnLost
        4, Gen.constant (DeliverySignal.AttemptEnded(attempt failed))
        1, Gen.constant (DeliverySignal.AttemptEnded(attempt delivered))
        1, Gen.constant (DeliverySignal.Delivered delivered)
        1, Gen.constant DeliverySignal.Expired
        1, Gen.constant DeliverySignal.TakenOver
        1, Gen.constant (DeliverySignal.ParkRefused(TimeSpan.FromSeconds 7.0))
        4, Gen.constant DeliverySignal.BackoffEnded
    ]

let private history = gen {
    let! retries = Gen.choose (0, 5)
    let! signals = Gen.listOf anySignal
    return retries, signals
}

/// All actions, in their order, and the last state.
let private run (retries: int) (signals: DeliverySignal list) =
    ((DeliveryStep.initial, []), signals)
    ||> List.fold (fun (state, actions) signal ->
        let struct (next, action) = DeliveryStep.step (policy retries) state signal
        next, action :: actions)
    |> fun (state, actions) -> state, List.rev actions

let private isSend action =
    match action with
    | DeliveryAction.Send _ -> true
    | _ -> false

let private isEnd action =
    match action with
    | DeliveryAction.End _ -> true
    | _ -> false

let tests =
    testList "DeliveryStep" [
        for state in states do
            for name, signal in signals do
                test $"{state.Phase}, {name}" {
                    let struct (next, action) = DeliveryStep.step (policy 2) state signal

                    match List.tryFind (fun (pair, _) -> pair = (state.Phase, name)) table with
                    | Some(_, (phase, expected, attempts)) ->
                        Expect.equal next.Phase phase "the phase"
                        Expect.isTrue (action = expected) $"{action}"
                        Expect.equal next.Copy.Attempts attempts "attempts"
                    | None ->
                        Expect.isTrue (next = state) $"{next}"
                        Expect.isTrue (action = DeliveryAction.Nothing) $"{action}"
                }

        for state in states do
            for name, signal in signals do
                test $"durable, {state.Phase}, {name}" {
                    let durable = { state with IsDurable = true }
                    let struct (next, action) = DeliveryStep.step (policy 2) durable signal

                    match List.tryFind (fun (pair, _) -> pair = (state.Phase, name)) shelved with
                    | Some(_, (wait, attempts)) ->
                        Expect.isTrue (action = DeliveryAction.Shelve wait) $"{action}"
                        Expect.equal next.Phase DeliveryPhase.Ended "nothing more is done for it here"
                        Expect.isFalse next.Copy.IsEnded "it has not ended for all that"
                        Expect.equal next.Copy.Attempts attempts "attempts"
                    | None ->
                        let struct (other, same) = DeliveryStep.step (policy 2) state signal
                        Expect.isTrue (action = same) "as any other copy"
                        Expect.equal next.Phase other.Phase "the phase"
                }

        property
            "a copy ends once, and nothing is done for it after that"
            (Prop.forAll (Arb.fromGen history) (fun (retries, signals) ->
                let state, actions = run retries signals
                let ends = actions |> List.filter isEnd |> List.length

                let after =
                    actions
                    |> List.skipWhile (isEnd >> not)
                    |> List.truncate 1000
                    |> List.skip (min 1 ends)

                ends = (if state.Phase = DeliveryPhase.Ended then 1 else 0)
                && state.Copy.IsEnded = (ends = 1)
                && after |> List.forall (fun action -> action = DeliveryAction.Nothing)))

        property
            "there are never more attempts than allowed, and they are numbered one after the other"
            (Prop.forAll (Arb.fromGen history) (fun (retries, signals) ->
                let _, actions = run retries signals

                let numbers =
                    actions
                    |> List.choose (fun action ->
                        match action with
                        | DeliveryAction.Send number -> Some number
                        | _ -> None)

                numbers = [ 1 .. numbers.Length ] && numbers.Length <= retries + 1))

        property
            "a copy whose turn always comes ends, delivered or not"
            (Prop.forAll (Arb.fromGen (Gen.choose (0, 10))) (fun retries ->
                let signals =
                    List.replicate (retries + 1) [
                        DeliverySignal.TurnCame
                        DeliverySignal.AttemptEnded(attempt failed)
                        DeliverySignal.BackoffEnded
                    ]
                    |> List.concat

                let state, actions = run retries signals

                state.Phase = DeliveryPhase.Ended
                && (actions |> List.filter isSend |> List.length) = retries + 1))

        property
            "accepted = delivered + failed + dropped + expired + taken over + pending, after any histories"
            (Prop.forAll (Arb.fromGen (Gen.listOf history)) (fun histories ->
                let states =
                    histories |> List.map (fun (retries, signals) -> fst (run retries signals))

                let count isSo =
                    states
                    |> List.filter (fun state ->
                        state.Copy.IsEnded && state.Copy.Outcome |> ValueOption.exists isSo)
                    |> List.length

                let isFailed outcome =
                    not (TargetOutcome.isDelivered outcome)
                    && not (TargetOutcome.isDropped outcome)
                    && not (TargetOutcome.isExpired outcome)
                    && not (TargetOutcome.isTakenOver outcome)

                let pending =
                    states |> List.filter (fun state -> not state.Copy.IsEnded) |> List.length

                states.Length =
                    count TargetOutcome.isDelivered
                    + count isFailed
                    + count TargetOutcome.isDropped
                    + count TargetOutcome.isExpired
                    + count TargetOutcome.isTakenOver
                    + pending))

        test "an event after the end changes nothing" {
            let ended = CopyState.evolve CopyState.accepted (CopyEvent.Ended delivered)

            for event in
                [
                    CopyEvent.Accepted
                    CopyEvent.AttemptEnded(failed, true)
                    CopyEvent.Parked(TimeSpan.FromSeconds 1.0)
                    CopyEvent.Ended failed
                ] do
                Expect.isTrue (CopyState.evolve ended event = ended) $"{event}"
        }
    ]
