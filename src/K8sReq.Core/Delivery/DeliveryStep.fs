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
    /// The store keeps it: instead of being given up it goes back there.
    IsDurable: bool
}

/// How an attempt ended, with what decides of another one. Not a struct: delivered copies, nearly all, need none of it
/// (`DeliverySignal.Delivered`), and each signal and each call would be larger by it.
[<NoComparison>]
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
    /// Until it expires; MaxValue where it does not.
    Left: TimeSpan
}

/// What comes about for a copy.
[<RequireQualifiedAccess; Struct; NoComparison>]
type DeliverySignal =
    /// The queue has a slot for it.
    | TurnCame
    /// The queue is given up: its target is not routed any more.
    | TurnLost
    /// It could be sent, and its time is over.
    | Expired
    | AttemptEnded of attempt: AttemptEnd
    /// An attempt has ended well: nothing is to be decided. The same as `AttemptEnded` with this outcome.
    | Delivered of outcome: TargetOutcome
    /// Instead of an attempt: another replica has it.
    | TakenOver
    /// The queue has no room for it to wait in: the answer to `Park`, with its wait.
    | ParkRefused of wait: TimeSpan
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
    /// It leaves the memory and waits in the store, so long at least; a slot that it holds is given back.
    | Shelve of wait: TimeSpan

/// The way of a copy as a pure state machine. A signal leads to one action at most, so that none is put into a list: this
/// runs for every copy.
module DeliveryStep =
    /// A copy that has been accepted.
    let initial: DeliveryState = {
        Phase = DeliveryPhase.Queued
        Copy = CopyState.accepted
        IsDurable = false
    }

    let private ended (outcome: TargetOutcome) (state: DeliveryState) =
        struct ({
                    state with
                        Phase = DeliveryPhase.Ended
                        Copy = CopyState.ended outcome state.Copy
                },
                DeliveryAction.End outcome)

    // Given up, or kept for later.
    let private leave (wait: TimeSpan) (outcome: TargetOutcome) (state: DeliveryState) =
        if state.IsDurable then
            struct ({
                        state with
                            Phase = DeliveryPhase.Ended
                    },
                    DeliveryAction.Shelve wait)
        else
            ended outcome state

    let private attemptEnded (policy: RetryPolicy) (attempt: AttemptEnd) (before: DeliveryState) =
        let state = {
            before with
                Copy = CopyState.attemptEnded attempt.Outcome attempt.IsAttempt before.Copy
        }

        match
            RetryDecision.next policy state.Copy.Attempts attempt.Jitter attempt.RetryAfter attempt.Outcome
        with
        // It was cut off, or not even tried: nothing is known of it.
        | None when attempt.Outcome = TargetOutcome.Cancelled -> leave TimeSpan.Zero attempt.Outcome state
        | None -> ended attempt.Outcome state
        | Some _ when attempt.Left <= TimeSpan.Zero ->
            ended (TargetOutcome.Expired(Some attempt.Outcome)) state
        | Some wait when not attempt.MayRetry -> leave (min wait attempt.Left) TargetOutcome.Cancelled state
        | Some wait ->
            // It expires in time, and not when its next attempt would have been.
            let wait = min wait attempt.Left

            struct ({
                        state with
                            Phase = DeliveryPhase.Backoff
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
        | (DeliveryPhase.Queued | DeliveryPhase.Sending), DeliverySignal.Expired ->
            ended (TargetOutcome.Expired(ValueOption.toOption state.Copy.Outcome)) state
        | DeliveryPhase.Queued, DeliverySignal.TurnLost -> leave TimeSpan.Zero TargetOutcome.Cancelled state
        | DeliveryPhase.Sending, DeliverySignal.AttemptEnded attempt -> attemptEnded policy attempt state
        | DeliveryPhase.Sending, DeliverySignal.Delivered outcome ->
            ended outcome {
                state with
                    Copy = CopyState.attemptEnded outcome true state.Copy
            }
        | DeliveryPhase.Sending, DeliverySignal.TakenOver -> ended TargetOutcome.TakenOver state
        | DeliveryPhase.Backoff, DeliverySignal.BackoffEnded ->
            struct ({
                        state with
                            Phase = DeliveryPhase.Queued
                    },
                    DeliveryAction.Queue)
        | DeliveryPhase.Backoff, DeliverySignal.ParkRefused wait ->
            let last = state.Copy.Outcome |> ValueOption.defaultValue TargetOutcome.Cancelled
            leave wait (TargetOutcome.NoRoomToRetry last) state
        | (DeliveryPhase.Queued | DeliveryPhase.Sending | DeliveryPhase.Backoff | DeliveryPhase.Ended), _ ->
            struct (state, DeliveryAction.Nothing)
