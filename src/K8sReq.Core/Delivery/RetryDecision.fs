namespace K8sReq.Core

open System

module RetryDecision =
    /// Before any attempt after the first, whatever a RequestClone or a target asks for: a failing target is not to be
    /// asked over and over at the cost of others.
    let shortestWait = TimeSpan.FromMilliseconds 50.0

    /// The longest time before the given attempt (the first retry is 1), to which jitter is applied.
    let ceiling (policy: RetryPolicy) (retry: int) : TimeSpan =
        let growth =
            match policy.Backoff with
            | BackoffPolicy.Linear -> float retry
            // Beyond this the longest time has long been reached, and the power would overflow.
            | BackoffPolicy.Exponential -> 2.0 ** float (min (retry - 1) 62)

        let grown = policy.Delay.TotalMilliseconds * growth
        TimeSpan.FromMilliseconds(min grown policy.Longest.TotalMilliseconds)

    /// Whether a copy with this outcome may succeed later. 410 says that it never will, and so do most other answers.
    let isRetried (outcome: TargetOutcome) : bool =
        match outcome with
        | TargetOutcome.ConnectFailed _
        | TargetOutcome.TimedOut _
        | TargetOutcome.SendFailed _ -> true
        | TargetOutcome.Rejected status ->
            status = 404
            || status = 408
            || status = 409
            || status = 429
            || (status >= 500 && status < 600)
        | TargetOutcome.Delivered _
        | TargetOutcome.BadAnswer _
        | TargetOutcome.Overflowed
        | TargetOutcome.NoRoomToRetry _
        | TargetOutcome.Cancelled
        | TargetOutcome.Expired _
        | TargetOutcome.Poisonous
        | TargetOutcome.TakenOver
        | TargetOutcome.Faulted _ -> false

    /// How long to wait before the next attempt; None if there is none. `made` counts the attempts so far, `jitter` is
    /// from 0 to 1 and taken in full: the wait is anywhere from the shortest to the ceiling. What the target asks for
    /// (`retryAfter`) counts instead, up to the most that it may ask for.
    let next
        (policy: RetryPolicy)
        (made: int)
        (jitter: float)
        (retryAfter: TimeSpan voption)
        (outcome: TargetOutcome)
        : TimeSpan option =
        if made > policy.Retries || not (isRetried outcome) then
            None
        else
            match retryAfter with
            | ValueSome wanted when policy.MostAsked > TimeSpan.Zero ->
                Some(max shortestWait (min wanted policy.MostAsked))
            | ValueSome _
            | ValueNone -> Some(max shortestWait ((ceiling policy made) * jitter))
