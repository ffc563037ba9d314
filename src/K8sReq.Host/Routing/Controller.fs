namespace K8sReq.Host.Routing

open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host

/// Folds the events of the sources into the state and publishes the routing table, by `publish`, which puts it into
/// the holder. The one writer of both.
[<Sealed>]
type Controller
    (logger: ILogger, scopes: Set<WatchScope>, holder: RouteTableHolder, publish: RouteTable -> unit) =
    let events =
        Channel.CreateUnbounded<ClusterEvent list>(UnboundedChannelOptions(SingleReader = true))

    // All that is queued becomes one table: a burst costs one publication.
    let rec drain (state: ClusterState) =
        match events.Reader.TryRead() with
        | true, batch -> drain (ClusterState.fold state batch)
        | false, _ -> state

    let reportChanges (before: RouteTable) (now: RouteTable) =
        let knownBefore = Map.ofList before.Unrouted

        for key, error in now.Unrouted do
            if knownBefore.TryFind key <> Some error then
                Log.notRouted logger (string key) (Resolution.describeError error)

        if before.Routes <> now.Routes || not holder.IsKnown then
            let targets = now.Routes |> Seq.sumBy _.Value.Length
            Log.routesChanged logger now.Routes.Count targets now.Unrouted.Length

    /// Queues events that belong together: no table shows a part of them.
    member _.Post(batch: ClusterEvent list) = events.Writer.TryWrite batch |> ignore

    /// Runs until the token says stop.
    member _.RunAsync(stop: CancellationToken) : Task = task {
        let mutable state = ClusterState.initial
        let mutable isOpen = true

        while isOpen do
            let! hasMore = events.Reader.WaitToReadAsync stop
            isOpen <- hasMore
            let next = drain state

            if next <> state || not holder.IsKnown then
                state <- next

                if ClusterState.isSynced scopes state then
                    let table = RouteTable.ofState state
                    reportChanges holder.Current table
                    publish table
    }
