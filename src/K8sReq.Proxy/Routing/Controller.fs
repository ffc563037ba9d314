namespace K8sReq.Proxy

open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core

/// Folds the events of the sources into the routing and publishes it, by `publish`, which is told what has
/// changed since the last time and puts a snapshot into the holder. The one writer of both.
[<Sealed>]
type Controller
    (
        logger: ILogger,
        policy: TargetPolicy,
        scopes: Set<WatchScope>,
        holder: SnapshotHolder,
        publish: Routing -> unit
    ) =
    let events =
        Channel.CreateUnbounded<ClusterEvent list>(UnboundedChannelOptions(SingleReader = true))

    let queued =
        Seq.unfold (fun () ->
            match events.Reader.TryRead() with
            | true, batch -> Some(batch, ())
            | false, _ -> None)

    // All that is queued becomes one table: a burst costs one publication.
    let drain (routing: Routing) =
        Routing.fold routing (Seq.concat (queued ()))

    let reportUnrouted (before: RouteTable) (now: Routing) =
        let errorIn (clones: Map<ObjectKey, ResolvedClone>) key =
            match clones.TryFind key with
            | Some { Resolved = Error error } -> Some error
            | Some { Resolved = Ok _ }
            | None -> None

        for key in now.ChangedClones do
            match errorIn now.Clones key with
            | Some error when errorIn before.Clones key <> Some error ->
                ProxyLog.notRouted logger (string key) (Resolution.describeError error)
            | _ -> ()

    // After they are in force: readers may rely on it.
    let reportRoutes (wasKnown: bool) (now: Routing) =
        if not now.ChangedHosts.IsEmpty || not wasKnown then
            let counts = now.Counts
            ProxyLog.routesChanged logger counts.Hosts counts.Targets counts.Unrouted

    /// Queues events that belong together: no table shows a part of them.
    member _.Post(batch: ClusterEvent list) = events.Writer.TryWrite batch |> ignore

    /// Runs until the token says stop.
    member _.RunAsync(stop: CancellationToken) : Task = task {
        let mutable routing = { Routing.initial with Policy = policy }
        let mutable isOpen = true

        while isOpen do
            let! hasMore = events.Reader.WaitToReadAsync stop
            isOpen <- hasMore
            routing <- drain routing

            let isNews =
                not holder.IsKnown
                || not routing.ChangedClones.IsEmpty
                || not routing.ChangedHosts.IsEmpty

            if isNews && ClusterState.isSynced scopes routing.State then
                let wasKnown = holder.IsKnown
                reportUnrouted holder.Current.Table routing
                publish routing
                reportRoutes wasKnown routing
                routing <- Routing.settled routing
    }
