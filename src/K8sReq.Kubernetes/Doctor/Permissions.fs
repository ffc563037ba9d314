/// What the program has to be allowed to do.
module K8sReq.Kubernetes.Doctor.Permissions

open System
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open k8s
open K8sReq.Core

let private where (ns: string option) =
    match ns with
    | Some ns -> $"in namespace {ns}"
    | None -> "in all namespaces"

/// A permission that is needed: verb, group, resource and namespace (None for all).
type Need = {
    Verb: string
    Group: string
    Resource: string
    Namespace: string option
}

/// Those of these settings; the Lease is in this namespace.
let needs (settings: Settings) (leaseNamespace: string) : Need list =
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

/// The SelfSubjectAccessReview that asks for it.
let reviewOf (need: Need) : JsonNode =
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

/// Whether all of them are granted.
let examine (client: IKubernetes) (needs: Need list) (stop: CancellationToken) = task {
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
                Finding.failed "permissions" $"not granted: {Problem.some (List.ofSeq missing)}"
    with error ->
        return Finding.skipped "permissions" $"could not be reviewed: {Problem.describe error}"
}
