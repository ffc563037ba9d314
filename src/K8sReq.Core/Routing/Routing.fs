namespace K8sReq.Core

open System

type RoutingCounts = {
    Hosts: int
    Targets: int
    Unrouted: int
}

/// The routing table, kept up to date event by event: an event costs what it changes, however many routes there are, and
/// a copy of the array of its host.
/// At every moment its table is what `RouteTable.ofState` makes of its state, but for targets that its policy refuses.
type Routing = {
    State: ClusterState
    Policy: TargetPolicy
    Clones: Map<ObjectKey, ResolvedClone>
    /// The RequestClones that name a Service, by the Service.
    Dependents: Map<ObjectKey, Set<ObjectKey>>
    /// The targets of each host, ordered by RequestClone.
    Routes: HostMap<Target[]>
    /// The targets of hosts that have more than are routed, all of them.
    Crowded: Map<HostName, Target[]>
    /// Those that are not routed for that.
    Excess: Map<ObjectKey, Target>
    /// How many there are: a Map counts by walking through all of it.
    Counts: RoutingCounts
    /// What has changed since the last `settled`: RequestClones that are new, gone, changed or resolved otherwise.
    ChangedClones: Set<ObjectKey>
    /// And the hosts whose targets are not the same any more.
    ChangedHosts: Set<HostName>
}

/// A routing whose `Routes` are those of before: where targets have come to, and from where they have gone (None), since.
type private Changes = {
    Routing: Routing
    Moved: Map<HostName, Map<ObjectKey, Target option>>
}

module Routing =
    let initial = {
        State = ClusterState.initial
        Policy = TargetPolicy.permissive
        Clones = Map.empty
        Dependents = Map.empty
        Routes = HostMap.Empty
        Crowded = Map.empty
        Excess = Map.empty
        Counts = { Hosts = 0; Targets = 0; Unrouted = 0 }
        ChangedClones = Set.empty
        ChangedHosts = Set.empty
    }

    // Its backend's, and that of its sink.
    let private servicesOf (clone: RequestClone) : Set<ObjectKey> =
        let inNamespace = ObjectKey.create clone.Key.Namespace

        match clone.Spec with
        | Error _ -> Set.empty
        | Ok spec ->
            match spec.Delivery.DeadLetterSink with
            | None -> Set.singleton (inNamespace spec.ServiceName)
            | Some sink -> set [ inNamespace spec.ServiceName; inNamespace sink.ServiceName ]

    let private changeSet key (change: Set<'T> -> Set<'T>) (sets: Map<ObjectKey, Set<'T>>) =
        let set = sets.TryFind key |> Option.defaultValue Set.empty |> change

        if Set.isEmpty set then
            Map.remove key sets
        else
            Map.add key set sets

    let private targetOf (clone: ResolvedClone option) =
        clone |> Option.bind (fun clone -> Result.toOption clone.Resolved)

    let private move host key (target: Target option) (moved: Map<HostName, Map<ObjectKey, Target option>>) =
        let atHost = moved.TryFind host |> Option.defaultValue Map.empty
        Map.add host (Map.add key target atHost) moved

    // Where this key is, or belongs, in an array that is ordered by RequestClone; not before `first`.
    let private indexOf (key: ObjectKey) (first: int) (targets: Target[]) =
        let mutable low = first
        let mutable high = targets.Length

        while low < high do
            let middle = (low + high) / 2

            if targets[middle].Clone < key then
                low <- middle + 1
            else
                high <- middle

        low

    // Everything about one RequestClone, from the state as it is.
    let private resolveAnew (changes: Changes) (key: ObjectKey) : Changes =
        let routing = changes.Routing
        let before = routing.Clones.TryFind key

        let now =
            routing.State.Clones.Objects.TryFind key
            |> Option.map (fun clone -> {
                Clone = clone
                Resolved =
                    Resolution.resolve routing.State.Services.Objects clone
                    |> Result.bind (TargetPolicy.admit routing.Policy)
            })

        let dependents =
            let servicesOf (clone: ResolvedClone option) =
                clone
                |> Option.map (fun clone -> servicesOf clone.Clone)
                |> Option.defaultValue Set.empty

            let servicesBefore, servicesNow = servicesOf before, servicesOf now

            if servicesBefore = servicesNow then
                routing.Dependents
            else
                let without =
                    (routing.Dependents, servicesBefore)
                    ||> Set.fold (fun dependents service -> changeSet service (Set.remove key) dependents)

                (without, servicesNow)
                ||> Set.fold (fun dependents service -> changeSet service (Set.add key) dependents)

        let targetBefore, targetNow = targetOf before, targetOf now
        // Where it has its place, routed or one too many.
        let placeBefore = targetBefore |> Option.orElse (routing.Excess.TryFind key)

        let moved =
            // One too many that stays where it is is looked at again all the same: what was just found out does not say so.
            if placeBefore = targetNow && targetBefore.IsSome then
                changes.Moved
            else
                (changes.Moved, placeBefore)
                ||> Option.fold (fun moved target -> move target.Host key None moved)
                |> fun moved ->
                    (moved, targetNow)
                    ||> Option.fold (fun moved target -> move target.Host key (Some target) moved)

        let one (isCounted: bool) = if isCounted then 1 else 0

        let counts = {
            routing.Counts with
                Targets = routing.Counts.Targets - one targetBefore.IsSome + one targetNow.IsSome
                Unrouted =
                    routing.Counts.Unrouted - one (before.IsSome && targetBefore.IsNone)
                    + one (now.IsSome && targetNow.IsNone)
        }

        {
            Moved = moved
            Routing = {
                routing with
                    Clones =
                        match now with
                        | Some clone -> Map.add key clone routing.Clones
                        | None -> Map.remove key routing.Clones
                    Dependents = dependents
                    Counts = counts
                    ChangedClones = Set.add key routing.ChangedClones
            }
        }

    // Puts what has moved into the array of its host: what lies between is copied as it is.
    let private merge (before: Target[]) (moved: Map<ObjectKey, Target option>) : Target[] =
        let merged = ResizeArray<Target>(before.Length + moved.Count)
        let mutable copied = 0

        for KeyValue(key, target) in moved do
            let index = indexOf key copied before
            merged.AddRange(ArraySegment(before, copied, index - copied))
            let isThere = index < before.Length && before[index].Clone = key
            copied <- if isThere then index + 1 else index
            Option.iter merged.Add target

        merged.AddRange(ArraySegment(before, copied, before.Length - copied))
        merged.ToArray()

    // Says of a RequestClone whether it is one too many. Its target is the same in both cases.
    let private mark (isExcess: bool) (target: Target) (routing: Routing) : Routing =
        match routing.Clones.TryFind target.Clone with
        | Some clone when Result.isOk clone.Resolved = isExcess ->
            let error = ResolutionError.TooManyForHost(target.Host, routing.Policy.MostPerHost)
            let one = if isExcess then 1 else -1

            {
                routing with
                    Clones =
                        routing.Clones.Add(
                            target.Clone,
                            {
                                clone with
                                    Resolved = if isExcess then Error error else Ok target
                            }
                        )
                    Counts = {
                        routing.Counts with
                            Targets = routing.Counts.Targets - one
                            Unrouted = routing.Counts.Unrouted + one
                    }
                    ChangedClones = Set.add target.Clone routing.ChangedClones
            }
        | _ -> routing

    // The targets of a host that are routed. The others are marked as too many.
    let private limit
        (host: HostName)
        (before: Target[])
        (all: Target[])
        (routing: Routing)
        : struct (Target[] * Routing) =
        match TargetPolicy.excess routing.Policy before, TargetPolicy.excess routing.Policy all with
        | [], [] -> struct (all, routing)
        | excessBefore, excess ->
            let isExcess = excess |> List.map _.Clone |> Set.ofList

            let routed =
                all |> Array.filter (fun target -> not (isExcess.Contains target.Clone))
            // It may have come to another host by the same events, and be one too many there.
            let without =
                (routing.Excess, excessBefore)
                ||> List.fold (fun map target ->
                    match map.TryFind target.Clone with
                    | Some known when known.Host = host -> map.Remove target.Clone
                    | _ -> map)

            let ofExcess =
                (without, excess)
                ||> List.fold (fun map target -> map.Add(target.Clone, target))

            let marked =
                (routing, excess) ||> List.fold (fun routing target -> mark true target routing)

            let admitted =
                let isRouted = routed |> Seq.map (fun target -> target.Clone, target) |> Map.ofSeq

                (marked, excessBefore)
                ||> List.fold (fun routing target ->
                    match isRouted.TryFind target.Clone with
                    | Some now -> mark false now routing
                    | None -> routing)

            struct (routed,
                    {
                        admitted with
                            Excess = ofExcess
                            Crowded =
                                if excess.IsEmpty then
                                    admitted.Crowded.Remove host
                                else
                                    admitted.Crowded.Add(host, all)
                    })

    // Each host that anything has moved at gets its array once, however much has: a host may have thousands of targets.
    let private place (changes: Changes) : Routing =
        let placeOne (routing: Routing) host moved =
            let before = routing.Routes.TryGet host

            let allBefore =
                routing.Crowded.TryFind host
                |> Option.defaultWith (fun () -> before |> ValueOption.defaultValue [||])

            let struct (now, routing) = limit host allBefore (merge allBefore moved) routing

            match before, now with
            | ValueNone, [||] -> routing
            | _ ->
                let routes =
                    if now.Length = 0 then
                        routing.Routes.Remove host
                    else
                        routing.Routes.Set(host, now)

                {
                    routing with
                        Routes = routes
                        Counts = {
                            routing.Counts with
                                Hosts = routes.Count
                        }
                        ChangedHosts = Set.add host routing.ChangedHosts
                }

        (changes.Routing, changes.Moved) ||> Map.fold placeOne

    // The RequestClones whose routes an event may change.
    let private changedBy (event: ClusterEvent) (routing: Routing) : ObjectKey list =
        match event with
        | ClusterEvent.Clone event -> ObjectStore.changedBy routing.State.Clones event
        | ClusterEvent.Service event ->
            ObjectStore.changedBy routing.State.Services event
            |> List.collect (fun service ->
                routing.Dependents.TryFind service
                |> Option.map Set.toList
                |> Option.defaultValue [])
        | ClusterEvent.ScopeDenied _ -> []

    let private apply (changes: Changes) (event: ClusterEvent) : Changes =
        let routing = changes.Routing
        let changed = changedBy event routing

        let changes = {
            changes with
                Routing = {
                    routing with
                        State = ClusterState.evolve routing.State event
                }
        }

        List.fold resolveAnew changes changed

    /// The routing after these events, in their order. Many events at once cost less than one by one.
    let fold (routing: Routing) (events: ClusterEvent seq) : Routing =
        ({ Routing = routing; Moved = Map.empty }, events) ||> Seq.fold apply |> place

    /// The routing after one more event.
    let evolve (routing: Routing) (event: ClusterEvent) : Routing = fold routing [ event ]

    let table (routing: Routing) : RouteTable =
        RouteTable.Create(routing.Routes, routing.Clones)

    /// The same, with nothing counted as changed.
    let settled (routing: Routing) : Routing = {
        routing with
            ChangedClones = Set.empty
            ChangedHosts = Set.empty
    }
