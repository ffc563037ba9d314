namespace K8sReq.Core

/// The snapshot that requests are routed by: immutable, made from one state of the cluster.
[<Sealed; AllowNullLiteral(false)>]
type RouteTable private (routes: Map<HostName, Target[]>, unrouted: (ObjectKey * ResolutionError) list) =
    let index = HostIndex(routes |> Seq.map (fun route -> route.Key, route.Value))

    /// The targets of each host, ordered by RequestClone.
    member _.Routes = routes

    /// Every RequestClone that is not routed, ordered by key, with the reason.
    member _.Unrouted = unrouted

    /// The targets of a host in any of its spellings (capitals, port, trailing dot); empty if there are none.
    /// The array is shared: read it only.
    member _.Find(host: string) : Target[] =
        index.TryFind host |> ValueOption.defaultValue [||]

    static member internal Create(routes, unrouted) = RouteTable(routes, unrouted)

module RouteTable =
    /// Resolves every RequestClone of the state.
    let ofState (state: ClusterState) : RouteTable =
        let resolved =
            state.Clones
            |> Map.toList
            |> List.map (fun (key, clone) -> key, Resolution.resolve state.Services clone)

        let routes =
            resolved
            |> List.choose (fun (_, result) -> Result.toOption result)
            |> List.groupBy _.Host
            |> List.map (fun (host, targets) -> host, List.toArray targets)
            |> Map.ofList

        let unrouted =
            resolved
            |> List.choose (fun (key, result) ->
                match result with
                | Ok _ -> None
                | Error error -> Some(key, error))

        RouteTable.Create(routes, unrouted)

    let empty = ofState ClusterState.initial

    /// The targets of a host in any of its spellings; empty if there are none.
    let find (host: string) (table: RouteTable) : Target[] = table.Find host
