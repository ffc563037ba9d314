namespace K8sReq.Core

/// What is known of a copy: the fold of its events.
[<Struct; NoComparison>]
type CopyState = {
    /// Attempts that have ended.
    Attempts: int
    /// How the last one ended; once the copy has ended, its outcome.
    Outcome: TargetOutcome voption
    /// It has ended for good.
    IsEnded: bool
}

module CopyState =
    /// A copy that was accepted and not sent yet.
    let accepted: CopyState = {
        Attempts = 0
        Outcome = ValueNone
        IsEnded = false
    }

    /// An attempt has ended. `isAttempt` is false if nothing was tried. A copy that has ended stays as it is.
    let attemptEnded (outcome: TargetOutcome) (isAttempt: bool) (state: CopyState) : CopyState =
        if state.IsEnded then
            state
        else
            {
                state with
                    Attempts = state.Attempts + (if isAttempt then 1 else 0)
                    Outcome = ValueSome outcome
            }

    /// It has ended for good. A copy that has ended stays as it is.
    let ended (outcome: TargetOutcome) (state: CopyState) : CopyState =
        if state.IsEnded then
            state
        else
            {
                state with
                    Outcome = ValueSome outcome
                    IsEnded = true
            }

    /// The state after one more event.
    let evolve (state: CopyState) (event: CopyEvent) : CopyState =
        match event with
        | CopyEvent.Accepted
        | CopyEvent.Parked _ -> state
        | CopyEvent.AttemptEnded(outcome, isAttempt) -> attemptEnded outcome isAttempt state
        | CopyEvent.Ended outcome -> ended outcome state
