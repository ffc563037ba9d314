/// What is sent to the API server about a RequestClone: its status, and an event where its reason changes.
module K8sReq.Kubernetes.StatusRequests

open System
open System.Text
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open k8s
open k8s.Models
open K8sReq.Core
open K8sReq.Proxy

let private timestamp (time: DateTimeOffset) =
    time.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ssZ"

let private text (value: string) : JsonNode = nonNull (JsonValue.Create value)

let private fields (named: (string * JsonNode) list) : JsonNode =
    let node = JsonObject()

    for name, value in named do
        node.Add(name, value)

    node

// Node by node: a program that is compiled ahead of time cannot read the properties of a record when it runs.
let private bodyOf (kind: KindName) (patch: StatusPatch) : JsonNode =
    fields [
        "apiVersion", text kind.ApiVersion
        "kind", text kind.Kind
        "metadata",
        fields [
            "name", text patch.Key.Name
            "namespace", text patch.Key.Namespace
            // Of another object of the same name nothing is known.
            "uid", text patch.Uid
        ]
        "status",
        fields [
            // Tools that wait for an object (kstatus: Argo CD, Flux, helm --wait) compare it with metadata.generation.
            "observedGeneration", JsonValue.Create patch.ObservedGeneration
            "conditions",
            JsonArray(
                fields [
                    "type", text "Ready"
                    "status", text (if patch.Readiness.IsReady then "True" else "False")
                    "reason", text patch.Readiness.Reason
                    "message", text patch.Readiness.Message
                    "observedGeneration", JsonValue.Create patch.ObservedGeneration
                    "lastTransitionTime", text (timestamp patch.LastTransition)
                ]
            )
        ]
    ]

/// Writes the condition. Throws what the client throws.
let writeStatus (client: IKubernetes) (kind: KindName) (patch: StatusPatch) (stop: CancellationToken) : Task =
    task {
        let! _ =
            client.CustomObjects.PatchNamespacedCustomObjectStatusAsync(
                V1Patch(bodyOf kind patch, V1Patch.PatchType.ApplyPatch),
                kind.Group,
                kind.Version,
                patch.Key.Namespace,
                kind.Plural,
                patch.Key.Name,
                fieldManager = "k8sreq",
                force = Nullable true,
                cancellationToken = stop
            )

        return ()
    }

// The API server takes 1,024 bytes, not characters; a character has three at most.
let private noteOf (message: string) =
    let longest =
        if Encoding.UTF8.GetByteCount message = message.Length then
            1024
        else
            341

    message.Substring(0, min longest message.Length)

/// Creates an event that tells of the condition. `identity` is the replica. Throws what the client throws.
let writeEvent
    (client: IKubernetes)
    (now: DateTimeOffset)
    (identity: string)
    (kind: KindName)
    (patch: StatusPatch)
    (stop: CancellationToken)
    : Task = task {
    let event =
        Eventsv1Event(
            Metadata =
                V1ObjectMeta(
                    Name = EventName.create patch.Key.Name now,
                    NamespaceProperty = patch.Key.Namespace
                ),
            EventTime = now.UtcDateTime,
            ReportingController = "k8sreq-duplicator-controller",
            ReportingInstance = identity.Substring(0, min 128 identity.Length),
            Action = "Route",
            Reason = patch.Readiness.Reason,
            Note = noteOf patch.Readiness.Message,
            Type = (if patch.Readiness.IsReady then "Normal" else "Warning"),
            Regarding =
                V1ObjectReference(
                    ApiVersion = kind.ApiVersion,
                    Kind = kind.Kind,
                    Name = patch.Key.Name,
                    NamespaceProperty = patch.Key.Namespace,
                    Uid = patch.Uid
                )
        )

    let! _ =
        client.EventsV1.CreateNamespacedEventAsync(event, patch.Key.Namespace, cancellationToken = stop)

    return ()
}
