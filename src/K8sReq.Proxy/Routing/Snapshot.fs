namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// What requests are routed by, all of it from one state of the cluster. Immutable.
[<NoEquality; NoComparison>]
type Snapshot = {
    Table: RouteTable
    Counts: RoutingCounts
    /// The hosts of the table, each with the lanes to its targets.
    Hosts: HostMap<HostEntry>
}

module Snapshot =
    let empty: Snapshot = {
        Table = RouteTable.empty
        Counts = Routing.initial.Counts
        Hosts = HostMap.Empty
    }

/// The snapshot in force: one writer, any number of readers, no lock. It is published by one write, and a request reads it
/// once.
[<Sealed>]
type SnapshotHolder() =
    let mutable current = Snapshot.empty
    let known = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    /// The snapshot in force.
    member _.Current = Volatile.Read &current

    /// Whether a snapshot has been published: before that, no route is known, and none being there means nothing.
    member _.IsKnown = known.Task.IsCompleted

    /// Completed once a snapshot has been published.
    member _.WhenKnown: Task = known.Task

    /// Whether a snapshot has been published, for a request that needs one: true at once or as soon as there is one, false
    /// when it has waited for the limit, or when `refused` is cancelled before.
    member _.WaitUntilKnown
        (clock: TimeProvider, limit: TimeSpan, refused: CancellationToken)
        : unit -> ValueTask<bool> =
        fun () ->
            if known.Task.IsCompletedSuccessfully then
                ValueTask<bool> true
            else
                ValueTask<bool>(
                    task {
                        try
                            do! known.Task.WaitAsync(limit, clock, refused)
                            return true
                        with
                        | :? TimeoutException
                        | :? OperationCanceledException -> return false
                    }
                )

    /// Puts a snapshot in force, for all requests that come after.
    member _.Publish(snapshot: Snapshot) =
        Volatile.Write(&current, snapshot)
        known.TrySetResult() |> ignore
