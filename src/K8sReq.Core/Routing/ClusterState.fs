namespace K8sReq.Core

/// What is known of the cluster: a fold over its events.
type ClusterState = {
    Clones: Map<ObjectKey, RequestClone>
    Services: Map<ObjectKey, BackendService>
    ListedClones: Set<WatchScope>
    ListedServices: Set<WatchScope>
    /// Scopes that may not be read. What was listed of them before stays.
    Denied: Set<WatchScope>
}

module ClusterState =
    let initial = {
        Clones = Map.empty
        Services = Map.empty
        ListedClones = Set.empty
        ListedServices = Set.empty
        Denied = Set.empty
    }

    let private replaceScope scope (keyOf: 'T -> ObjectKey) (listed: 'T list) (known: Map<ObjectKey, 'T>) =
        let outside = known |> Map.filter (fun key _ -> not (WatchScope.covers scope key))

        (outside, listed)
        ||> List.fold (fun objects listedObject -> Map.add (keyOf listedObject) listedObject objects)

    /// The state after one more event. Applying the same event twice changes nothing.
    let evolve (state: ClusterState) (event: ClusterEvent) : ClusterState =
        match event with
        | ClusterEvent.CloneApplied clone -> {
            state with
                Clones = Map.add clone.Key clone state.Clones
          }
        | ClusterEvent.CloneDeleted key -> {
            state with
                Clones = Map.remove key state.Clones
          }
        | ClusterEvent.ClonesListed(scope, clones) -> {
            state with
                Clones = state.Clones |> replaceScope scope _.Key clones
                ListedClones = Set.add scope state.ListedClones
          }
        | ClusterEvent.ServiceApplied service -> {
            state with
                Services = Map.add service.Key service state.Services
          }
        | ClusterEvent.ServiceDeleted key -> {
            state with
                Services = Map.remove key state.Services
          }
        | ClusterEvent.ServicesListed(scope, services) -> {
            state with
                Services = state.Services |> replaceScope scope _.Key services
                ListedServices = Set.add scope state.ListedServices
          }
        | ClusterEvent.ScopeDenied scope -> {
            state with
                Denied = Set.add scope state.Denied
          }

    /// The state after these events, in their order.
    let fold (state: ClusterState) (events: ClusterEvent seq) : ClusterState = Seq.fold evolve state events

    /// Whether both kinds have been listed once in each of these scopes that may be read, and in one at least, so that the
    /// routes are known.
    let isSynced (scopes: Set<WatchScope>) (state: ClusterState) =
        let listed = Set.intersect state.ListedClones state.ListedServices
        let isListed scope = Set.contains scope listed

        scopes
        |> Set.forall (fun scope -> isListed scope || Set.contains scope state.Denied)
        && Set.exists isListed scopes
