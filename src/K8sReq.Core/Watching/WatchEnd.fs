namespace K8sReq.Core

open System

/// What stands between the program and the API server, for people to mend. With what the server or the system said.
[<RequireQualifiedAccess>]
type WatchFault =
    /// 401: the credentials are not accepted.
    | Unauthorized of detail: string
    /// 403: a permission is missing.
    | Forbidden of detail: string
    /// 404: the server does not know the kind of object.
    | UnknownKind of detail: string
    /// No authority that is trusted vouches for the server's certificate: the one that did may have been replaced.
    | Untrusted of detail: string
    | Unreachable of detail: string

/// How a list or a watch came to its end.
[<RequireQualifiedAccess>]
type WatchEnd =
    /// The server closed the watch, as it does every few minutes.
    | Closed
    /// Nothing came for longer than the server may be silent.
    | Idle
    /// The server no longer knows the version to go on from (410), or the page to go on from.
    | Expired
    /// 429, with the time that the server wants to be left alone.
    | Throttled of TimeSpan option
    | Failed of WatchFault

module WatchEnd =
    /// One of a few words.
    let reason (ended: WatchEnd) : string =
        match ended with
        | WatchEnd.Closed -> "closed"
        | WatchEnd.Idle -> "idle"
        | WatchEnd.Expired -> "expired"
        | WatchEnd.Throttled _ -> "throttled"
        | WatchEnd.Failed(WatchFault.Unauthorized _) -> "unauthorized"
        | WatchEnd.Failed(WatchFault.Forbidden _) -> "forbidden"
        | WatchEnd.Failed(WatchFault.UnknownKind _) -> "unknown_kind"
        | WatchEnd.Failed(WatchFault.Untrusted _) -> "untrusted"
        | WatchEnd.Failed(WatchFault.Unreachable _) -> "unreachable"
