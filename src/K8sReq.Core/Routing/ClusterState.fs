namespace K8sReq.Core

/// What is known of the cluster: a store for each kind.
type ClusterState = {
    Clones: ObjectStore<RequestClone>
    Services: ObjectStore<BackendService>
    /// Scopes that may not be read. What was listed of them before stays.
    Denied: Set<WatchScope>
}

module ClusterState =
    let initial: ClusterState = {
        Clones = ObjectStore.empty
        Services = ObjectStore.empty
        Denied = Set.empty
    }

    /// The state after one more event. Applying the same event twice changes nothing.
    let evolve (state: ClusterState) (event: ClusterEvent) : ClusterState =
        match event with
        | ClusterEvent.Clone event -> {
            state with
                Clones = ObjectStore.evolve state.Clones event
          }
        | ClusterEvent.Service event -> {
            state with
                Services = ObjectStore.evolve state.Services event
          }
        | ClusterEvent.ScopeDenied scope -> {
            state with
                Denied = Set.add scope state.Denied
          }

    /// The state after these events, in their order.
    let fold (state: ClusterState) (events: ClusterEvent seq) : ClusterState = Seq.fold evolve state events

    /// Whether every kind has been listed once in each of these scopes that may be read, and in one at least, so that the
    /// routes are known.
    let isSynced (scopes: Set<WatchScope>) (state: ClusterState) =
        let listed = Set.intersect state.Clones.Listed state.Services.Listed
        let isListed scope = Set.contains scope listed

        scopes
        |> Set.forall (fun scope -> isListed scope || Set.contains scope state.Denied)
        && Set.exists isListed scopes
