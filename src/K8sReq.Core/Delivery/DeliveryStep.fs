namespace K8sReq.Core

open System

/// Where a copy is on its way to its target.
[<RequireQualifiedAccess; Struct>]
type DeliveryPhase =
    /// In its target's queue.
    | Queued
    | Sending
    /// Between two attempts, outside of the queue.
    | Backoff
    | Ended

/// A copy in delivery.
[<Struct; NoComparison>]
type DeliveryState = {
    Phase: DeliveryPhase
    Copy: CopyState
}

/// How an attempt ended, with what decides of another one.
[<Struct; NoComparison>]
type AttemptEnd = {
    Outcome: TargetOutcome
    /// False if nothing was tried, because the process was stopping.
    IsAttempt: bool
    /// What the target asks for.
    RetryAfter: TimeSpan voption
    /// From 0 to 1.
    Jitter: float
    /// Whether there is any use in another attempt: false once the target is not routed any more or the process stops.
    MayRetry: bool
}

/// What comes about for a copy.
[<RequireQualifiedAccess; Struct; NoComparison>]
type DeliverySignal =
    /// The queue has a slot for it.
    | TurnCame
    /// The queue is given up: its target is not routed any more.
    | TurnLost
    | AttemptEnded of attempt: AttemptEnd
    /// The queue has no room for it to wait in: the answer to `Park`.
    | ParkRefused
    /// The time between two attempts is over.
    | BackoffEnded

/// What is to be done for it.
[<RequireQualifiedAccess; Struct; NoComparison>]
type DeliveryAction =
    | Nothing
    /// The attempt of this number, from 1.
    | Send of number: int
    /// Give the slot back and wait so long.
    | Park of wait: TimeSpan
    /// Ask the queue for a slot.
    | Queue
    /// It has ended; a slot that it holds is given back.
    | End of outcome: TargetOutcome

/// The way of a copy as a pure state machine. A signal leads to one action at most, so that none is put into a list: this
/// runs for every copy.
module DeliveryStep =
    /// A copy that has been accepted.
    let initial: DeliveryState = {
        Phase = DeliveryPhase.Queued
        Copy = CopyState.accepted
    }

    let private ended (outcome: TargetOutcome) (copy: CopyState) =
        struct ({
                    Phase = DeliveryPhase.Ended
                    Copy = CopyState.evolve copy (CopyEvent.Ended outcome)
                },
                DeliveryAction.End outcome)

    let private attemptEnded (policy: RetryPolicy) (attempt: AttemptEnd) (before: CopyState) =
        let copy =
            CopyState.evolve before (CopyEvent.AttemptEnded(attempt.Outcome, attempt.IsAttempt))

        match RetryDecision.next policy copy.Attempts attempt.Jitter attempt.RetryAfter attempt.Outcome with
        | None -> ended attempt.Outcome copy
        | Some _ when not attempt.MayRetry -> ended TargetOutcome.Cancelled copy
        | Some wait ->
            struct ({
                        Phase = DeliveryPhase.Backoff
                        Copy = copy
                    },
                    DeliveryAction.Park wait)

    /// The state after a signal, and what is to be done. A signal that does not belong to the phase changes nothing.
    let step
        (policy: RetryPolicy)
        (state: DeliveryState)
        (signal: DeliverySignal)
        : struct (DeliveryState * DeliveryAction) =
        match state.Phase, signal with
        | DeliveryPhase.Queued, DeliverySignal.TurnCame ->
            struct ({
                        state with
                            Phase = DeliveryPhase.Sending
                    },
                    DeliveryAction.Send(state.Copy.Attempts + 1))
        | DeliveryPhase.Queued, DeliverySignal.TurnLost -> ended TargetOutcome.Cancelled state.Copy
        | DeliveryPhase.Sending, DeliverySignal.AttemptEnded attempt -> attemptEnded policy attempt state.Copy
        | DeliveryPhase.Backoff, DeliverySignal.BackoffEnded ->
            struct ({
                        state with
                            Phase = DeliveryPhase.Queued
                    },
                    DeliveryAction.Queue)
        | DeliveryPhase.Backoff, DeliverySignal.ParkRefused ->
            let last = state.Copy.Outcome |> ValueOption.defaultValue TargetOutcome.Cancelled
            ended (TargetOutcome.NoRoomToRetry last) state.Copy
        | (DeliveryPhase.Queued | DeliveryPhase.Sending | DeliveryPhase.Backoff | DeliveryPhase.Ended), _ ->
            struct (state, DeliveryAction.Nothing)
