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

    /// The state after one more event. A copy that has ended stays as it is.
    let evolve (state: CopyState) (event: CopyEvent) : CopyState =
        match event with
        | _ when state.IsEnded -> state
        | CopyEvent.Accepted
        | CopyEvent.Parked _ -> state
        | CopyEvent.AttemptEnded(outcome, isAttempt) -> {
            state with
                Attempts = state.Attempts + (if isAttempt then 1 else 0)
                Outcome = ValueSome outcome
          }
        | CopyEvent.Ended outcome -> {
            state with
                Outcome = ValueSome outcome
                IsEnded = true
          }
