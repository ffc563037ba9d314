namespace K8sReq.Core

open System

/// Why a status could not be written: what it says of the next attempt.
[<RequireQualifiedAccess>]
type StatusFailure =
    /// The object is refused (it is not valid for the server, gone, or may not be written): others are not affected.
    | OfObject
    /// The server cannot be reached or does not work: what comes next fails too. With the time that it asks to be left
    /// alone for, if it does.
    | OfServer of retryAfter: TimeSpan option

/// A status that was refused, and waits for its next attempt.
type HeldStatus = {
    /// What was to be written: another status is another attempt.
    Readiness: Readiness
    Generation: int64
    Uid: string
    /// Attempts in a row that failed.
    Failures: int
    NotBefore: TimeSpan
}

/// The statuses that could not be written, by object, each with a backoff of its own. Times are on one clock that only
/// grows.
module StatusRetry =
    let private first = TimeSpan.FromSeconds 5.0

    // Whether the object or the server was at fault is seen from the outside only when it is tried again; a server that is
    // back is not to be kept waiting for.
    let private longest (failure: StatusFailure) =
        match failure with
        | StatusFailure.OfObject -> TimeSpan.FromMinutes 5.0
        | StatusFailure.OfServer _ -> TimeSpan.FromSeconds 30.0

    let private isSame (patch: StatusPatch) (held: HeldStatus) =
        held.Readiness = patch.Readiness
        && held.Generation = patch.ObservedGeneration
        && held.Uid = patch.Uid

    /// The status was not written: it is held back for longer each time. The second value is true where this status fails
    /// for the first time. `jitter` is from 0 to 1.
    let failed
        (jitter: float)
        (now: TimeSpan)
        (failure: StatusFailure)
        (patch: StatusPatch)
        (held: Map<ObjectKey, HeldStatus>)
        : Map<ObjectKey, HeldStatus> * bool =
        let before =
            match held.TryFind patch.Key with
            | Some status when isSame patch status -> status.Failures
            | Some _
            | None -> 0

        let status = {
            Readiness = patch.Readiness
            Generation = patch.ObservedGeneration
            Uid = patch.Uid
            Failures = before + 1
            NotBefore = now + Backoff.delay first (longest failure) (before + 1) jitter
        }

        held.Add(patch.Key, status), before = 0

    /// Whether this status has to wait for its next attempt.
    let isHeld (now: TimeSpan) (held: Map<ObjectKey, HeldStatus>) (patch: StatusPatch) : bool =
        match held.TryFind patch.Key with
        | Some status -> isSame patch status && now < status.NotBefore
        | None -> false

    /// The objects whose wait is over.
    let due (now: TimeSpan) (held: Map<ObjectKey, HeldStatus>) : ObjectKey list = [
        for KeyValue(key, status) in held do
            if status.NotBefore <= now then
                key
    ]

    /// The time to the end of the first wait; None if nothing waits.
    let nextDue (now: TimeSpan) (held: Map<ObjectKey, HeldStatus>) : TimeSpan option =
        if held.IsEmpty then
            None
        else
            let first = held |> Map.values |> Seq.map _.NotBefore |> Seq.min
            Some(max TimeSpan.Zero (first - now))
