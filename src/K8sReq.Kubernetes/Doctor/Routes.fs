/// RequestClones and their Services, listed and resolved as the proxy does it.
module K8sReq.Kubernetes.Doctor.Routes

open System
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open k8s
open K8sReq.Core
open K8sReq.Kubernetes

let rec private allPages (api: ResourceApi<'T>) (client: IKubernetes) next stop : Task<'T list> = task {
    let! page = api.Page client next stop

    match page.Next with
    | None -> return page.Items
    | Some _ ->
        let! rest = allPages api client page.Next stop
        return page.Items @ rest
}

let private scopesOf (settings: Settings) : WatchScope list =
    match settings.Namespaces with
    | [] -> [ WatchScope.AllNamespaces ]
    | namespaces -> List.map WatchScope.Namespace namespaces

// As the proxy sees them: everything listed, and resolved by the same rules.
let private routeTable
    (client: IKubernetes)
    (settings: Settings)
    (stop: CancellationToken)
    : Task<RouteTable> = task {
    let mutable state = ClusterState.initial

    for scope in scopesOf settings do
        for source in RouteKinds.all do
            let api = ResourceApi.create source.Kind settings.WatchLabelSelector scope
            let! objects = allPages api client None stop
            let keyed = objects |> List.map (fun item -> source.Kind.KeyOf item, item)
            state <- ClusterState.fold state [ source.ToEvent(ObjectEvent.Listed(scope, keyed)) ]

    return RouteTable.ofState state
}

let private routesOf (table: RouteTable) : Finding =
    let routed = table.Clones.Count - table.Unrouted.Length

    match table.Unrouted with
    | [] when routed = 0 -> Finding.warning "routes" "there is no RequestClone: every request is answered 503"
    | [] ->
        Finding.ok
            "routes"
            $"""{routed} {if routed = 1 then "RequestClone" else "RequestClones"}, all routed"""
    | unrouted ->
        let named =
            unrouted
            |> List.map (fun (key, error) -> $"{key}: {Resolution.describeError error}")

        Finding.failed "routes" $"{unrouted.Length} of {table.Clones.Count} not routed: {Problem.some named}"

// Whether any endpoint of the Service is ready.
let private hasEndpoints (client: IKubernetes) (service: ObjectKey) stop : Task<bool> = task {
    let! slices =
        client.CustomObjects.ListNamespacedCustomObjectAsync<JsonElement>(
            "discovery.k8s.io",
            "v1",
            service.Namespace,
            "endpointslices",
            labelSelector = $"kubernetes.io/service-name={service.Name}",
            cancellationToken = stop
        )

    // No word about it means that it is ready.
    let isReady (endpoint: JsonElement) =
        match Json.tryAt [ "conditions"; "ready" ] endpoint with
        | Some ready -> ready.ValueKind <> JsonValueKind.False
        | None -> true

    let itemsOf name (value: JsonElement) =
        Json.tryField name value |> Option.map Json.items |> Option.defaultValue []

    return
        itemsOf "items" slices
        |> List.collect (itemsOf "endpoints")
        |> List.exists isReady
}

let private endpoints (client: IKubernetes) (table: RouteTable) (stop: CancellationToken) = task {
    let services =
        [
            for clone in table.Clones.Values do
                match clone.Resolved with
                | Ok target -> target.Service
                | Error _ -> ()
        ]
        |> List.distinct

    try
        let without = ResizeArray<string>()

        for service in services do
            let! has = hasEndpoints client service stop

            if not has then
                without.Add(string service)

        return
            match List.ofSeq without with
            | _ when services.IsEmpty -> Finding.skipped "endpoints" "no Service is routed to"
            | [] ->
                Finding.ok
                    "endpoints"
                    $"every Service that is routed to ({services.Length}) has a ready endpoint"
            | without ->
                Finding.failed
                    "endpoints"
                    $"no ready endpoint, so that copies fail: Service {Problem.some without}"
    with
    | error when Problem.isStatus 403 error ->
        return
            Finding.skipped
                "endpoints"
                "no permission to list endpointslices, which the proxy does not need; run doctor as yourself"
    | error -> return Finding.skipped "endpoints" (Problem.describe error)
}


/// Whether every RequestClone is routed, and every Service that is routed to has an endpoint.
let examine (client: IKubernetes) (settings: Settings) (stop: CancellationToken) : Task<Finding list> = task {
    try
        let! table = routeTable client settings stop
        let! endpoints = endpoints client table stop
        return [ routesOf table; endpoints ]
    with error ->
        return [ Finding.failed "routes" $"cannot be listed: {Problem.describe error}" ]
}
