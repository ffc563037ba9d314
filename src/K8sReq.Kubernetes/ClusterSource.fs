/// Routes from a cluster, and the statuses that tell its users about them.
module K8sReq.Kubernetes.ClusterSource

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

let private scopesOf (settings: Settings) =
    match settings.Namespaces with
    | [] -> Set.singleton WatchScope.AllNamespaces
    | namespaces -> namespaces |> List.map WatchScope.Namespace |> Set.ofList

let private describeScopes (settings: Settings) =
    match settings.Namespaces with
    | [] -> "all namespaces"
    | [ one ] -> $"namespace {one}"
    | several -> "namespaces " + String.concat ", " several

// Of a write or of what the election asks for.
let private commandTimeout = TimeSpan.FromSeconds 10.0

/// `identity` is what this replica is known by among the others: its pod's name.
let create
    (logger: ILogger)
    (clock: TimeProvider)
    (access: ClusterAccess)
    (identity: string)
    (settings: Settings)
    : RouteSource =
    let connection = new KubernetesConnection(access)

    let commands =
        new KubernetesConnection(access |> ClusterAccess.withTimeout commandTimeout)

    let scopes = scopesOf settings
    let times = WatchTimes.usual clock
    let metrics = SourceMetrics clock

    let writer =
        StatusWriter(
            logger,
            clock,
            metrics,
            commands,
            RequestClone.kind.Name,
            settings.Concurrent,
            settings.WatchLabelSelector,
            identity
        )

    let setLeading leads =
        metrics.IsLeading <- leads
        writer.SetLeading leads

    let watch (api: ResourceApi<'T>) (emit: WatchAction<'T> -> unit) denied stop =
        ResourceWatcher(logger, metrics, times, connection, api, emit, denied).RunAsync stop

    let follow post stop scope =
        let order = ListingOrder(RouteKinds.all, post)
        let denied () = post [ ClusterEvent.ScopeDenied scope ]

        RouteKinds.all
        |> List.mapi (fun index source ->
            watch
                (ResourceApi.create source.Kind settings.WatchLabelSelector scope)
                (WatchAction.tryEvent scope source.Kind.KeyOf >> Option.iter (order.Add index))
                denied
                stop)

    let lead stop : Task =
        if settings.EnableLeaderElection then
            let lease =
                LeaseSettings.usual
                    (settings.LeaderElectionNamespace |> Option.defaultValue access.Namespace)
                    settings.LeaderElectionName
                    identity

            let setLeader name = metrics.Leader <- name
            Leadership(logger, clock, commands, lease, setLeading, setLeader).RunAsync stop
        else
            metrics.Leader <- identity
            setLeading true
            Task.CompletedTask

    {
        Scopes = scopes
        Metrics = metrics
        Published = fun routing -> writer.Update(routing.Clones, routing.ChangedClones)
        Run =
            fun post stop ->
                KubernetesLog.cluster logger access.Origin (describeScopes settings)

                (scopes |> List.ofSeq |> List.collect (follow post stop))
                @ [ writer.RunAsync stop; lead stop ]
    }
