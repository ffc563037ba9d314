namespace K8sReq.Proxy

open System
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

    /// Whether a table has been published, for a request that needs one: true at once or as soon as there is one, false
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

    /// Puts a table in force, for all requests that come after.
    member _.Publish(table: RouteTable) =
        Volatile.Write(&current, table)
        known.TrySetResult() |> ignore
