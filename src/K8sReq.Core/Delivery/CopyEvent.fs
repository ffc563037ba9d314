namespace K8sReq.Core

open System

/// What happens to a copy: all that a store has to know to go on with it after a restart.
[<RequireQualifiedAccess>]
type CopyEvent =
    /// The first event, and the only one before which there is no copy.
    | Accepted
    /// `isAttempt` is false if nothing was tried, because the process was stopping.
    | AttemptEnded of outcome: TargetOutcome * isAttempt: bool
    /// It failed, and waits so long for its next attempt.
    | Parked of wait: TimeSpan
    /// The last event.
    | Ended of TargetOutcome
