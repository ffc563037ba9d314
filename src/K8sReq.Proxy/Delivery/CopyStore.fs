namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// A request that was accepted, with what its copies have in common. The store that keeps it gives it its number.
[<Sealed>]
type AcceptedRequest
    (
        request: CapturedRequest,
        bytes: int64,
        acceptedAt: int64,
        trace: RequestTrace | null,
        copies: int,
        release: unit -> unit
    ) =
    let mutable remaining = copies

    member _.Request = request
    /// What a copy counts for in its target's queue.
    member _.Bytes = bytes
    /// On the clock of the deliveries.
    member _.AcceptedAt = acceptedAt
    /// Null where it is not traced.
    member _.Trace = trace
    member _.Copies = copies

    /// Its number in the store.
    member val Number = 0L with get, set

    /// For the store: one of its copies has ended. After the last one nothing reads the request any more, and its memory is given back: this
    /// is the one place where that happens.
    member _.CopyEnded() : unit =
        if Interlocked.Decrement &remaining = 0 then
            release ()

/// Where accepted copies are kept until they have ended. Called from any thread; must not throw.
[<NoEquality; NoComparison>]
type CopyStore = {
    /// Keeps a request and its copies. True once they are kept, and the client may be told so; false if they cannot be: then
    /// nothing is kept, nothing may be sent, and the request is the caller's again.
    Append: AcceptedRequest -> ValueTask<bool>
    /// A copy failed and waits so long for its next attempt. The state has the attempts so far.
    Parked: AcceptedRequest -> CopyId -> CopyState -> TimeSpan -> unit
    /// A copy has ended, for good: the last that is told of it. Once for each copy.
    Ended: AcceptedRequest -> CopyId -> TargetOutcome -> unit
}
