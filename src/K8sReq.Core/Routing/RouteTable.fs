namespace K8sReq.Core

/// A RequestClone and where its copies go now, or why nowhere.
type ResolvedClone = {
    Clone: RequestClone
    Resolved: Result<Target, ResolutionError>
}

/// The snapshot that requests are routed by: immutable, made from one state of the cluster.
[<Sealed; AllowNullLiteral(false)>]
type RouteTable private (routes: HostMap<Target[]>, clones: Map<ObjectKey, ResolvedClone>) =
    let unrouted =
        lazy
            [
                for KeyValue(key, clone) in clones do
                    match clone.Resolved with
                    | Error error -> key, error
                    | Ok _ -> ()
            ]

    /// The targets of each host, ordered by RequestClone.
    member _.Routes = routes

    /// Every RequestClone, routed or not.
    member _.Clones = clones

    /// Every RequestClone that is not routed, ordered by key, with the reason.
    member _.Unrouted = unrouted.Value

    /// The targets of a host in any of its spellings (capitals, port, trailing dot); empty if there are none.
    /// The array is shared: read it only.
    member _.Find(host: string) : Target[] =
        routes.TryFind host |> ValueOption.defaultValue [||]

    static member internal Create(routes, clones) = RouteTable(routes, clones)

module RouteTable =
    /// Resolves every RequestClone of the state.
    let ofState (state: ClusterState) : RouteTable =
        let clones =
            state.Clones.Objects
            |> Map.map (fun _ clone -> {
                Clone = clone
                Resolved = Resolution.resolve state.Services.Objects clone
            })

        let routes =
            clones
            |> Map.toList
            |> List.choose (fun (_, clone) -> Result.toOption clone.Resolved)
            |> List.groupBy _.Host
            |> List.map (fun (host, targets) -> host, List.toArray targets)
            |> HostMap.ofSeq

        RouteTable.Create(routes, clones)

    let empty = ofState ClusterState.initial

    /// The targets of a host in any of its spellings; empty if there are none.
    let find (host: string) (table: RouteTable) : Target[] = table.Find host
