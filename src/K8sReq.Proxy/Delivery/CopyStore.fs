namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// A copy that is to outlive the process.
[<Struct>]
type DurableCopy = {
    /// Its number among the copies of its request.
    Copy: int
    Clone: ObjectKey
    /// Its queue has no room: it waits in the store alone, until `Take` gives it.
    IsSpilled: bool
}

/// A request that was accepted, with what its copies have in common. The store that keeps it gives it its number.
[<Sealed>]
type AcceptedRequest
    (
        request: CapturedRequest,
        bytes: int64,
        acceptedAt: int64,
        trace: RequestTrace | null,
        copies: int,
        // Null if there is none: most often.
        durable: DurableCopy[] | null,
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
    /// Those that are in memory.
    member _.Copies = copies
    member _.Durable = durable

    /// What its copies say that they are of, where they say so (see `CopyIdentity`), and under which their dead letters are
    /// known. Set before the request is kept.
    member val RequestId = Guid.Empty with get, set

    /// Its number in the store.
    member val Number = 0L with get, set

    /// Whether this copy outlives the process.
    member _.IsDurable(copy: int) : bool =
        match durable with
        | null -> false
        | durable -> durable |> Array.exists (fun kept -> kept.Copy = copy)

    /// For the store: since when it is this process's, if others may take it over.
    member val Epoch = 0L with get, set

    /// For the store: see `StoredCopy`.
    member val IsSuspect = false with get, set

    /// For the store: one of its copies in memory has ended, or waits in the store alone. After the last one nothing reads the
    /// request any more, and its memory is given back: this is the one place where that happens.
    member _.CopyEnded() : unit =
        if Interlocked.Decrement &remaining = 0 then
            release ()

    /// After the copies have been started: if none of them is in memory, the memory is given back.
    member _.ReleaseUnlessHeld() : unit =
        if copies = 0 then
            release ()

/// A copy out of a store, to be delivered.
[<NoEquality; NoComparison>]
type StoredCopy = {
    Id: CopyId
    Clone: ObjectKey
    Request: CapturedRequest
    RequestId: Guid
    /// What it counts for in its target's queue.
    Bytes: int64
    /// Since it was accepted, or replayed.
    Age: TimeSpan
    /// Attempts that have ended.
    Attempts: int
    /// It was in memory before when a process ended: that it outlives an attempt is worth writing down.
    IsSuspect: bool
    /// For the store: see `AcceptedRequest`.
    Epoch: int64
}

module StoredCopy =
    /// It alone as a request that was accepted then, on the clock of the deliveries.
    let accepted (acceptedAt: int64) (release: unit -> unit) (copy: StoredCopy) : AcceptedRequest =
        let request =
            AcceptedRequest(
                copy.Request,
                copy.Bytes,
                acceptedAt,
                null,
                1,
                [|
                    {
                        Copy = copy.Id.Copy
                        Clone = copy.Clone
                        IsSpilled = false
                    }
                |],
                release
            )

        request.Number <- copy.Id.Request
        request.RequestId <- copy.RequestId
        request.IsSuspect <- copy.IsSuspect
        request.Epoch <- copy.Epoch
        request

/// What waits in a store for a RequestClone.
[<Struct>]
type Backlog = {
    Copies: int64
    Bytes: int64
    /// Until one of them may be sent: zero if one may be now.
    Wait: TimeSpan
    /// Since the oldest of them was accepted.
    OldestAge: TimeSpan
}

module Backlog =
    let empty: Backlog = {
        Copies = 0L
        Bytes = 0L
        Wait = TimeSpan.Zero
        OldestAge = TimeSpan.Zero
    }

/// Where accepted copies are kept until they have ended. Called from any thread; must not throw. A class for the reason that
/// `CopyObserver` is one.
[<AbstractClass>]
type CopyStore() =
    /// Keeps a request and its copies. True once they are kept, and the client may be told so; false if they cannot be: then
    /// nothing is kept, nothing may be sent, and the request is the caller's again. Who waits may go on on the store's own thread,
    /// and so must not block it.
    abstract Append: request: AcceptedRequest -> ValueTask<bool>
    /// Whether a durable copy that is in memory may be sent now: false if another process has taken it over. Where that is not
    /// known it waits until it is; cancelled by the token.
    abstract MaySend: request: AcceptedRequest -> stop: CancellationToken -> ValueTask<bool>
    /// A copy failed and waits in memory so long for its next attempt. The state has the attempts so far.
    abstract Parked: request: AcceptedRequest -> id: CopyId -> state: CopyState -> wait: TimeSpan -> unit
    /// A durable copy leaves the memory for now: `Take` gives it again, not before this time has passed.
    abstract Shelved: request: AcceptedRequest -> id: CopyId -> state: CopyState -> wait: TimeSpan -> unit
    /// A copy has ended, for good: the last that is told of it. Once for each copy.
    abstract Ended: request: AcceptedRequest -> id: CopyId -> outcome: TargetOutcome -> unit

    /// The same for a durable copy that has failed and is kept as a dead letter for so long, after so many attempts; and whether
    /// it is to be sent to a sink.
    abstract Died:
        request: AcceptedRequest ->
        id: CopyId ->
        outcome: TargetOutcome ->
        attempts: int ->
        keep: TimeSpan ->
        isForSink: bool ->
            unit

    /// Takes room for a durable copy of a RequestClone, before the request is appended. False if there is none. It is given
    /// back when the copy has ended; by `Release` if it was not kept.
    abstract TryReserve: clone: ObjectKey -> bytes: int64 -> bool
    abstract Release: clone: ObjectKey -> bytes: int64 -> unit
    /// What waits for a RequestClone in the store alone.
    abstract Backlog: clone: ObjectKey -> Backlog
    /// Copies of a RequestClone that wait in the store and are due, the oldest first: at most so many, and not many more bytes
    /// than given. They are the caller's from then on. None if the store cannot be read now.
    abstract Take: clone: ObjectKey -> most: int -> bytes: int64 -> Task<StoredCopy list>
