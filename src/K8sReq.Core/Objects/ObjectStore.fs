namespace K8sReq.Core

/// What is known of the objects of a kind: the fold of its events.
type ObjectStore<'T when 'T: equality> = {
    Objects: Map<ObjectKey, 'T>
    /// Scopes that have been listed once.
    Listed: Set<WatchScope>
}

module ObjectStore =
    let empty<'T when 'T: equality> : ObjectStore<'T> = {
        Objects = Map.empty
        Listed = Set.empty
    }

    /// The store after one more event. Applying the same event twice changes nothing.
    let evolve (store: ObjectStore<'T>) (event: ObjectEvent<'T>) : ObjectStore<'T> =
        match event with
        | ObjectEvent.Applied(key, value) -> {
            store with
                Objects = store.Objects.Add(key, value)
          }
        | ObjectEvent.Deleted key -> {
            store with
                Objects = store.Objects.Remove key
          }
        | ObjectEvent.Listed(scope, listed) ->
            let outside =
                store.Objects |> Map.filter (fun key _ -> not (WatchScope.covers scope key))

            {
                Objects =
                    (outside, listed)
                    ||> List.fold (fun objects (key, value) -> objects.Add(key, value))
                Listed = store.Listed.Add scope
            }

    /// The keys whose objects the event changes: those that are new, gone, or not the same as before.
    let changedBy (store: ObjectStore<'T>) (event: ObjectEvent<'T>) : ObjectKey list =
        let differs (key: ObjectKey) (now: 'T option) = store.Objects.TryFind key <> now

        match event with
        | ObjectEvent.Applied(key, value) -> if differs key (Some value) then [ key ] else []
        | ObjectEvent.Deleted key -> if store.Objects.ContainsKey key then [ key ] else []
        | ObjectEvent.Listed(scope, listed) ->
            // Of an object that is listed twice the last one counts.
            let now = Map.ofList listed

            let gone =
                store.Objects.Keys
                |> Seq.filter (fun key -> WatchScope.covers scope key && not (now.ContainsKey key))

            let changed =
                now
                |> Seq.filter (fun pair -> differs pair.Key (Some pair.Value))
                |> Seq.map _.Key

            List.ofSeq (Seq.append gone changed)
