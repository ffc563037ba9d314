namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// How a copy has ended, after how many attempts.
type CopyEnd = (struct (TargetOutcome * int))

/// A copy's slot in a target's queue: true once it may be sent (see `LaneEntry.Entered`).
type LaneSlot = (struct (Lane * Task<bool>))

/// Told of what becomes of copies, from any thread. These methods are called for each copy, so they are those of a class: a
/// function of several arguments that is kept in a record is asked for its type at each call, and an interface's method is
/// looked up, where code is compiled as the process runs.
[<AbstractClass>]
type CopyObserver() =
    /// Told of the end of every attempt, with its number from 1 and its duration; of none that was not tried.
    abstract Attempted:
        request: AcceptedRequest ->
        lane: Lane ->
        number: int ->
        outcome: TargetOutcome ->
        duration: TimeSpan ->
            unit

    /// Told of the end of every copy, once, with the time since it was accepted.
    abstract Ended: request: AcceptedRequest -> lane: Lane -> ending: CopyEnd -> duration: TimeSpan -> unit

    /// Told of a copy that has left the memory and waits in the store: after that the lane is to be nudged.
    abstract Shelved: request: AcceptedRequest -> lane: Lane -> unit

/// What copies are delivered with.
[<NoEquality; NoComparison>]
type DeliveryServices = {
    Client: TargetClient
    Store: CopyStore
    Clock: TimeProvider
    /// From 0 to 1, another one each time, from any thread.
    Jitter: unit -> float
    Observer: CopyObserver
    /// Told of what should never happen: what observes copies has thrown. The copies go on.
    Unexpected: exn -> unit
    /// How long an attempt after the first that could begin now is to wait for the sake of others (see `RetryPaces`).
    PaceRetry: Lane -> TimeSpan
    /// Ends the waits between attempts. What is being sent, the client ends.
    Stop: CancellationToken
}
