namespace K8sReq.Core

open System
open System.Collections.Frozen
open System.Collections.Generic

/// The snapshot that requests are routed by: immutable, made from one state of the cluster.
[<Sealed; AllowNullLiteral(false)>]
type RouteTable private (routes: Map<HostName, Target[]>, unrouted: (ObjectKey * ResolutionError) list) =
    // A frozen dictionary answers in 63 ns among 1,000 hosts where a Map takes 380; building one is the
    // price of a change, not of a request. Keys differ in case only where hosts do not.
    let index =
        routes
        |> Seq.map (fun route -> KeyValuePair(route.Key.Value, route.Value))
        |> fun pairs -> FrozenDictionary.ToFrozenDictionary(pairs, StringComparer.OrdinalIgnoreCase)

    let lookup = index.GetAlternateLookup<ReadOnlySpan<char>>()

    /// The targets of each host, ordered by RequestClone.
    member _.Routes = routes

    /// Every RequestClone that is not routed, ordered by key, with the reason.
    member _.Unrouted = unrouted

    /// The targets of a host in any of its spellings (capitals, port, trailing dot); empty if there are none.
    /// The array is shared: read it only.
    member _.Find(host: string) : Target[] =
        // An IPv6 address has more spellings than its letters' case; it is rare enough to be parsed.
        let key =
            if host.StartsWith '[' then
                match HostName.parse host with
                | Ok address -> address.Value
                | Error _ -> host
            else
                host

        match lookup.TryGetValue(HostName.significant (key.AsSpan())) with
        | true, targets -> targets
        | _ -> Array.Empty()

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
