/// What the proxy needs of a cluster, looked at once.
module K8sReq.Kubernetes.Doctor.Diagnosis

open System
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open k8s
open K8sReq.Core
open K8sReq.Kubernetes

// An event or a Lease is worth more than a few seconds; certificates and signed webhooks are not.
let private mostSkew = TimeSpan.FromSeconds 5.0

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

    let needs = Permissions.needs settings leaseNamespace

    try
        // What every authenticated user may ask, as long as the API server can be reached.
        use! answer =
            client.CustomObjects.CreateClusterCustomObjectWithHttpMessagesAsync<JsonElement>(
                Permissions.reviewOf (List.head needs),
                "authorization.k8s.io",
                "v1",
                "selfsubjectaccessreviews",
                cancellationToken = stop
            )

        let date = answer.Response.Headers.Date
        let! definition = Definition.examine client stop
        let! permissions = Permissions.examine client needs stop
        let! lease = Leader.examine client clock settings leaseNamespace stop

        let! routes = Routes.examine client settings stop

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
            Finding.failed "cluster" $"{client.BaseUri} ({access.Origin}): {Problem.describe error}"
        ]
}
