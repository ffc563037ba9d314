/// What the proxy needs of a cluster, looked at once.
module K8sReq.Kubernetes.Diagnosis

open System
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open k8s
open k8s.Autorest
open K8sReq.Core

// An event or a Lease is worth more than a few seconds; certificates and signed webhooks are not.
let private mostSkew = TimeSpan.FromSeconds 5.0

// More are told of by their number.
let private mostNamed = 10

let private reasonOf (error: exn) : string =
    match error with
    | :? HttpOperationException as answered when
        not (String.IsNullOrEmpty(answered.Response.Content))
        && answered.Response.Content.TrimStart().StartsWith '{'
        ->
        use body = JsonDocument.Parse answered.Response.Content

        match Json.textAt [ "message" ] body.RootElement with
        | "" -> $"the API server answered {int answered.Response.StatusCode}"
        | message -> message
    | :? HttpOperationException as answered -> $"the API server answered {int answered.Response.StatusCode}"
    | :? OperationCanceledException -> "no answer in time"
    | error -> error.GetBaseException().Message

let private isStatus (code: int) (error: exn) : bool =
    match error with
    | :? HttpOperationException as answered -> int answered.Response.StatusCode = code
    | _ -> false

// "a, b and 3 more"
let private some (names: string list) : string =
    match List.length names - mostNamed with
    | left when left > 0 ->
        let first = names |> List.truncate mostNamed |> String.concat ", "
        $"{first} and {left} more"
    | _ -> String.concat ", " names

let private where (ns: string option) =
    match ns with
    | Some ns -> $"in namespace {ns}"
    | None -> "in all namespaces"

/// A permission that is needed: verb, group, resource and namespace (None for all).
type private Need = {
    Verb: string
    Group: string
    Resource: string
    Namespace: string option
}

let private needs (settings: Settings) (leaseNamespace: string) : Need list =
    let scopes =
        match settings.Namespaces with
        | [] -> [ None ]
        | namespaces -> List.map Some namespaces

    let kind = RequestClone.kind.Name

    [
        for ns in scopes do
            for verb, group, resource in
                [
                    "list", kind.Group, kind.Plural
                    "watch", kind.Group, kind.Plural
                    "list", "", "services"
                    "watch", "", "services"
                    "patch", kind.Group, kind.Plural + "/status"
                    "create", "events.k8s.io", "events"
                ] do
                {
                    Verb = verb
                    Group = group
                    Resource = resource
                    Namespace = ns
                }

        if settings.EnableLeaderElection then
            for verb in [ "create"; "get"; "update" ] do
                {
                    Verb = verb
                    Group = "coordination.k8s.io"
                    Resource = "leases"
                    Namespace = Some leaseNamespace
                }
    ]

let private text (value: string) : JsonNode = nonNull (JsonValue.Create value)

let private reviewOf (need: Need) : JsonNode =
    let resource, subresource =
        match need.Resource.Split '/' with
        | [| resource; subresource |] -> resource, subresource
        | _ -> need.Resource, ""

    let attributes = JsonObject()
    attributes.Add("verb", text need.Verb)
    attributes.Add("group", text need.Group)
    attributes.Add("resource", text resource)
    attributes.Add("subresource", text subresource)
    attributes.Add("namespace", text (need.Namespace |> Option.defaultValue ""))
    let spec = JsonObject()
    spec.Add("resourceAttributes", attributes)
    let review = JsonObject()
    review.Add("apiVersion", text "authorization.k8s.io/v1")
    review.Add("kind", text "SelfSubjectAccessReview")
    review.Add("spec", spec)
    review

let private isAllowed (client: IKubernetes) (need: Need) (stop: CancellationToken) : Task<bool> = task {
    let! answer =
        client.CustomObjects.CreateClusterCustomObjectAsync<JsonElement>(
            reviewOf need,
            "authorization.k8s.io",
            "v1",
            "selfsubjectaccessreviews",
            cancellationToken = stop
        )

    return
        match Json.tryAt [ "status"; "allowed" ] answer with
        | Some allowed -> allowed.ValueKind = JsonValueKind.True
        | None -> false
}

let private permissions (client: IKubernetes) (needs: Need list) (stop: CancellationToken) = task {
    try
        let missing = ResizeArray<string>()

        for need in needs do
            let! allowed = isAllowed client need stop

            if not allowed then
                missing.Add $"{need.Verb} {need.Resource} {where need.Namespace}"

        return
            if missing.Count = 0 then
                Finding.ok "permissions" $"all {needs.Length} are granted"
            else
                Finding.failed "permissions" $"not granted: {some (List.ofSeq missing)}"
    with error ->
        return Finding.skipped "permissions" $"could not be reviewed: {reasonOf error}"
}

// The paths of all properties of a schema, as JsonShape has them.
let rec private schemaPaths (path: string) (schema: JsonElement) : string list =
    match Json.tryField "properties" schema with
    | None -> [ path ]
    | Some properties -> [
        path

        for property in properties.EnumerateObject() do
            let inner =
                if path = "" then
                    property.Name
                else
                    $"{path}.{property.Name}"

            yield! schemaPaths inner property.Value
      ]

let private compareFields (definition: JsonElement) : Finding =
    let kind = RequestClone.kind.Name

    let version =
        Json.tryAt [ "spec"; "versions" ] definition
        |> Option.map Json.items
        |> Option.defaultValue []
        |> List.tryFind (fun version -> Json.textAt [ "name" ] version = kind.Version)

    match version |> Option.bind (Json.tryAt [ "schema"; "openAPIV3Schema" ]) with
    | None -> Finding.failed "crd" $"{kind.Plural}.{kind.Group} has no version {kind.Version}"
    | Some schema ->
        let there = Set.ofList (schemaPaths "" schema)

        let missing =
            JsonShape.paths CloneSpec.decoder.Shape
            |> List.filter (fun path -> not (there.Contains("spec." + path)))

        match missing with
        | [] -> Finding.ok "crd" $"{kind.Kind} {kind.ApiVersion}, with all fields of this version"
        | missing ->
            Finding.failed
                "crd"
                $"an older CustomResourceDefinition: the API server drops {some missing}. Apply the one of this version"

let private definition (client: IKubernetes) (stop: CancellationToken) = task {
    let kind = RequestClone.kind.Name

    try
        let! definition =
            client.CustomObjects.GetClusterCustomObjectAsync<JsonElement>(
                "apiextensions.k8s.io",
                "v1",
                "customresourcedefinitions",
                $"{kind.Plural}.{kind.Group}",
                cancellationToken = stop
            )

        return compareFields definition
    with
    | error when isStatus 404 error ->
        return
            Finding.failed
                "crd"
                $"there is no CustomResourceDefinition {kind.Plural}.{kind.Group}. Apply the one of the chart"
    | error when isStatus 403 error ->
        return
            Finding.skipped
                "crd"
                "its fields cannot be compared: no permission to get customresourcedefinitions, which the proxy does not need"
    | error -> return Finding.skipped "crd" (reasonOf error)
}

let private lease (client: IKubernetes) (clock: TimeProvider) (settings: Settings) (ns: string) stop = task {
    if not settings.EnableLeaderElection then
        return Finding.skipped "leader" "leader election is off: each replica writes statuses"
    else
        let name = settings.LeaderElectionName

        try
            let! lease =
                client.CustomObjects.GetNamespacedCustomObjectAsync<JsonElement>(
                    "coordination.k8s.io",
                    "v1",
                    ns,
                    "leases",
                    name,
                    cancellationToken = stop
                )

            let holder = Json.textAt [ "spec"; "holderIdentity" ] lease
            let renewed = Json.tryAt [ "spec"; "renewTime" ] lease |> Option.bind Json.tryTime

            return
                match holder, renewed with
                | "", _ -> Finding.failed "leader" $"nobody holds Lease {ns}/{name}: no replica runs"
                | holder, Some renewed when clock.GetUtcNow() - renewed > TimeSpan.FromMinutes 1.0 ->
                    Finding.failed
                        "leader"
                        $"""{holder} holds Lease {ns}/{name}, last renewed {renewed.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ssZ"}: no replica runs"""
                | holder, _ -> Finding.ok "leader" $"{holder} holds Lease {ns}/{name}"
        with
        | error when isStatus 404 error ->
            return
                Finding.failed
                    "leader"
                    $"there is no Lease {ns}/{name}: no replica has run with these settings"
        | error -> return Finding.skipped "leader" (reasonOf error)
}

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

        Finding.failed "routes" $"{unrouted.Length} of {table.Clones.Count} not routed: {some named}"

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
                Finding.failed "endpoints" $"no ready endpoint, so that copies fail: Service {some without}"
    with
    | error when isStatus 403 error ->
        return
            Finding.skipped
                "endpoints"
                "no permission to list endpointslices, which the proxy does not need; run doctor as yourself"
    | error -> return Finding.skipped "endpoints" (reasonOf error)
}

let private skewOf (clock: TimeProvider) (date: Nullable<DateTimeOffset>) : Finding =
    if not date.HasValue then
        Finding.skipped "clock" "the API server does not say what time it is"
    else
        let skew = clock.GetUtcNow() - date.Value

        let direction = if skew > TimeSpan.Zero then "ahead of" else "behind"

        // The header has seconds, and came a moment ago.
        if skew.Duration() <= mostSkew then
            Finding.ok "clock" "within 5 s of the API server's"
        else
            Finding.warning
                "clock"
                $"{Math.Round(skew.Duration().TotalSeconds)} s {direction} the API server's: Lease times and signed webhooks are off"

/// Looks at all of it. The order is that of what depends on what: the first that failed is the one to look at first.
let run
    (clock: TimeProvider)
    (access: ClusterAccess)
    (settings: Settings)
    (stop: CancellationToken)
    : Task<Finding list> = task {
    use connection =
        new KubernetesConnection(access |> ClusterAccess.withTimeout (TimeSpan.FromSeconds 10.0))

    let client = connection.Client

    let leaseNamespace =
        settings.LeaderElectionNamespace |> Option.defaultValue access.Namespace

    try
        // What every authenticated user may ask, as long as the API server can be reached.
        use! answer =
            client.CustomObjects.CreateClusterCustomObjectWithHttpMessagesAsync<JsonElement>(
                reviewOf (List.head (needs settings leaseNamespace)),
                "authorization.k8s.io",
                "v1",
                "selfsubjectaccessreviews",
                cancellationToken = stop
            )

        let date = answer.Response.Headers.Date
        let! definition = definition client stop
        let! permissions = permissions client (needs settings leaseNamespace) stop
        let! lease = lease client clock settings leaseNamespace stop

        let! routes = task {
            try
                let! table = routeTable client settings stop
                let! endpoints = endpoints client table stop
                return [ routesOf table; endpoints ]
            with error ->
                return [ Finding.failed "routes" $"cannot be listed: {reasonOf error}" ]
        }

        return [
            Finding.ok "cluster" $"{client.BaseUri} ({access.Origin})"
            definition
            permissions
            lease
            yield! routes
            skewOf clock date
        ]
    with error ->
        return [
            Finding.failed "cluster" $"{client.BaseUri} ({access.Origin}): {reasonOf error}"
        ]
}
