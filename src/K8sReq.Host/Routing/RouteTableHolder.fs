namespace K8sReq.Host.Routing

open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// The routing table in force: one writer, any number of readers, no lock.
[<Sealed>]
type RouteTableHolder() =
    let mutable current = RouteTable.empty
    let known = TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    /// The table in force. A request reads it once.
    member _.Current = Volatile.Read &current

    /// Whether a table has been published: before that, no route is known, and none being there means nothing.
    member _.IsKnown = known.Task.IsCompleted

    /// Completed once a table has been published.
    member _.WhenKnown: Task = known.Task

    /// Puts a table in force, for all requests that come after.
    member _.Publish(table: RouteTable) =
        Volatile.Write(&current, table)
        known.TrySetResult() |> ignore
