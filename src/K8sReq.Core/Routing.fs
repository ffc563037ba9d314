namespace K8sReq.Core

type RoutingCounts = {
    Hosts: int
    Targets: int
    Unrouted: int
}

/// The routing table, kept up to date event by event: an event costs what it changes, however many routes there are.
/// At every moment its table is what `RouteTable.ofState` makes of its state.
type Routing = {
    State: ClusterState
    Clones: Map<ObjectKey, ResolvedClone>
    /// The RequestClones that name a Service, by the Service.
    Dependents: Map<ObjectKey, Set<ObjectKey>>
    Routes: Map<HostName, Target[]>
    /// How many there are: a Map counts by walking through all of it.
    Counts: RoutingCounts
    /// What has changed since the last `settled`: RequestClones that are new, gone, changed or resolved otherwise.
    ChangedClones: Set<ObjectKey>
    /// And the hosts whose targets are not the same any more.
    ChangedHosts: Set<HostName>
}

module Routing =
    let initial = {
        State = ClusterState.initial
        Clones = Map.empty
        Dependents = Map.empty
        Routes = Map.empty
        Counts = { Hosts = 0; Targets = 0; Unrouted = 0 }
        ChangedClones = Set.empty
        ChangedHosts = Set.empty
    }

    let private serviceOf (clone: RequestClone) =
        match clone.Spec with
        | Ok spec -> Some(ObjectKey.create clone.Key.Namespace spec.ServiceName)
        | Error _ -> None

    let private changeSet key (change: Set<'T> -> Set<'T>) (sets: Map<ObjectKey, Set<'T>>) =
        let set = sets.TryFind key |> Option.defaultValue Set.empty |> change

        if Set.isEmpty set then
            Map.remove key sets
        else
            Map.add key set sets

    let private targetOf (clone: ResolvedClone option) =
        clone |> Option.bind (fun clone -> Result.toOption clone.Resolved)

    // Everything about one RequestClone, from the state as it is.
    let private resolveAnew (routing: Routing) (key: ObjectKey) : Routing =
        let before = routing.Clones.TryFind key

        let now =
            routing.State.Clones.TryFind key
            |> Option.map (fun clone -> {
                Clone = clone
                Resolved = Resolution.resolve routing.State.Services clone
            })

        let dependents =
            let serviceBefore = before |> Option.bind (fun clone -> serviceOf clone.Clone)
            let serviceNow = now |> Option.bind (fun clone -> serviceOf clone.Clone)

            if serviceBefore = serviceNow then
                routing.Dependents
            else
                let without =
                    match serviceBefore with
                    | Some service -> changeSet service (Set.remove key) routing.Dependents
                    | None -> routing.Dependents

                match serviceNow with
                | Some service -> changeSet service (Set.add key) without
                | None -> without

        let targetBefore, targetNow = targetOf before, targetOf now

        let routes, hosts, changedHosts =
            if targetBefore = targetNow then
                routing.Routes, routing.Counts.Hosts, routing.ChangedHosts
            else
                let without (routes: Map<HostName, Target[]>, hosts) (target: Target) =
                    match routes[target.Host] |> Array.filter (fun other -> other.Clone <> key) with
                    | [||] -> Map.remove target.Host routes, hosts - 1
                    | others -> Map.add target.Host others routes, hosts

                let withTarget (routes: Map<HostName, Target[]>, hosts) (target: Target) =
                    match routes.TryFind target.Host with
                    | None -> Map.add target.Host [| target |] routes, hosts + 1
                    | Some others ->
                        let all = Array.append others [| target |] |> Array.sortBy _.Clone
                        Map.add target.Host all routes, hosts

                let left = Option.fold without (routing.Routes, routing.Counts.Hosts) targetBefore
                let routes, hosts = Option.fold withTarget left targetNow

                let touched =
                    Option.toList targetBefore @ Option.toList targetNow |> List.map _.Host

                routes, hosts, Set.union routing.ChangedHosts (Set.ofList touched)

        let one (isCounted: bool) = if isCounted then 1 else 0

        let counts = {
            Hosts = hosts
            Targets = routing.Counts.Targets - one targetBefore.IsSome + one targetNow.IsSome
            Unrouted =
                routing.Counts.Unrouted - one (before.IsSome && targetBefore.IsNone)
                + one (now.IsSome && targetNow.IsNone)
        }

        {
            routing with
                Clones =
                    match now with
                    | Some clone -> Map.add key clone routing.Clones
                    | None -> Map.remove key routing.Clones
                Dependents = dependents
                Routes = routes
                Counts = counts
                ChangedHosts = changedHosts
                ChangedClones = Set.add key routing.ChangedClones
        }

    // The keys under which two maps differ, of those that an event is about.
    let private differing (keys: ObjectKey seq) (before: Map<ObjectKey, 'T>) (now: Map<ObjectKey, 'T>) =
        keys
        |> Seq.filter (fun key -> before.TryFind key <> now.TryFind key)
        |> Seq.distinct
        |> List.ofSeq

    let private keysOfEvent (event: ClusterEvent) (routing: Routing) : ObjectKey seq =
        let inScope scope (known: Map<ObjectKey, 'T>) =
            known |> Map.keys |> Seq.filter (WatchScope.covers scope)

        match event with
        | ClusterEvent.CloneApplied clone -> [ clone.Key ]
        | ClusterEvent.ServiceApplied service -> [ service.Key ]
        | ClusterEvent.CloneDeleted key
        | ClusterEvent.ServiceDeleted key -> [ key ]
        | ClusterEvent.ClonesListed(scope, clones) ->
            Seq.append (inScope scope routing.State.Clones) (clones |> Seq.map _.Key)
        | ClusterEvent.ServicesListed(scope, services) ->
            Seq.append (inScope scope routing.State.Services) (services |> Seq.map _.Key)

    /// The routing after one more event.
    let evolve (routing: Routing) (event: ClusterEvent) : Routing =
        let state = ClusterState.evolve routing.State event
        let keys = keysOfEvent event routing
        let changedClones = differing keys routing.State.Clones state.Clones

        let dependents =
            differing keys routing.State.Services state.Services
            |> List.collect (fun service ->
                routing.Dependents.TryFind service
                |> Option.map Set.toList
                |> Option.defaultValue [])

        List.fold resolveAnew { routing with State = state } (changedClones @ dependents)

    /// The routing after these events, in their order.
    let fold (routing: Routing) (events: ClusterEvent seq) : Routing = Seq.fold evolve routing events

    let table (routing: Routing) : RouteTable =
        RouteTable.Create(routing.Routes, routing.Clones)

    /// The same, with nothing counted as changed.
    let settled (routing: Routing) : Routing = {
        routing with
            ChangedClones = Set.empty
            ChangedHosts = Set.empty
    }
