namespace K8sReq.TestKit

open System
open System.IO
open System.Net
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading.Tasks
open k8s
open k8s.Autorest
open k8s.Models
open K8sReq.Proxy
open K8sReq.Core
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

/// A cluster as its users reach it, in namespaces of a test's own, which are gone afterwards. Whether it gives Services
/// their addresses is the difference between a real one and a scripted one.
[<Sealed>]
type ClusterDriver(kubeconfig: string, allocates: bool) =
    let client: IKubernetes = new Kubernetes(Kubeconfig.build [ kubeconfig ])

    let suffix = (Guid.NewGuid().ToString "N").Substring(0, 8)
    let created = ResizeArray<string>()

    let apply (text: string) =
        V1Patch(JsonNode.Parse text, V1Patch.PatchType.ApplyPatch)

    // The port's name, where it has one.
    let named (name: string option) (port: int) (rest: string) =
        let name = name |> Option.map (sprintf "\"name\":\"%s\",") |> Option.defaultValue ""
        $$"""{"ports":[{{{name}}"port":{{port}},"protocol":"TCP"}]{{rest}}}"""

    let spec = named (Some "http")

    let putService ns name (spec: string) : Task<V1Service> =
        client.CoreV1.PatchNamespacedServiceAsync(
            apply
                $$"""{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"{{ns}}","name":"{{name}}"},"spec":{{spec}} }""",
            name,
            ns,
            fieldManager = "test",
            force = Nullable true
        )

    member _.Kubeconfig = kubeconfig

    /// Installs the CustomResourceDefinition of a file.
    member _.Install(crdAsJson: string, name: string) : Task = task {
        let! _ =
            client.ApiextensionsV1.PatchCustomResourceDefinitionAsync(
                apply crdAsJson,
                name,
                fieldManager = "test",
                force = Nullable true
            )

        // It is served a moment later.
        do!
            Waiting.until "the CustomResourceDefinition to be served" (fun () -> task {
                try
                    let! _ =
                        client.CustomObjects.ListClusterCustomObjectAsync<JsonElement>(
                            RequestClone.kind.Name.Group,
                            RequestClone.kind.Name.Version,
                            RequestClone.kind.Name.Plural,
                            limit = 1
                        )

                    return true
                with :? HttpOperationException ->
                    return false
            })
    }

    /// A namespace of this name for the test; gives what it is called in the cluster.
    member _.Namespace(name: string) : Task<string> = task {
        let ns = $"k8sreq-test-{name}-{suffix}"
        created.Add ns

        let! _ =
            client.CoreV1.CreateNamespaceAsync(V1Namespace(Metadata = V1ObjectMeta(Name = ns)))

        return ns
    }

    /// A Service without a selector and, where that is possible, a target that listens on its address. Its one port has
    /// this name, or none.
    member _.ServiceWithTargetAt
        (portName: string option)
        (ns: string, name: string)
        : Task<TestTarget option> = task {
        let spec = named portName

        let! address = task {
            if allocates then
                let! service = putService ns name (spec 80 "")
                return IPAddress.Parse service.Spec.ClusterIP
            else
                return IPAddress.Loopback
        }

        let rest = if allocates then "" else ",\"clusterIP\":\"127.0.0.1\""

        if IPAddress.IsLoopback address then
            let target = TestTarget.okAt address
            let! _ = putService ns name (spec target.Port rest)
            return Some target
        else
            return None
    }

    /// The same, with a port called `http`.
    member driver.ServiceWithTarget(ns: string, name: string) : Task<TestTarget option> =
        driver.ServiceWithTargetAt (Some "http") (ns, name)

    member _.HeadlessService(ns: string, name: string) : Task = task {
        let! _ = putService ns name (spec 80 ",\"clusterIP\":\"None\"")
        ()
    }

    member _.DeleteService(ns: string, name: string) : Task = task {
        let! _ = client.CoreV1.DeleteNamespacedServiceAsync(name, ns)
        ()
    }

    /// Creates or changes a RequestClone; its spec is JSON.
    member _.Clone(ns: string, name: string, spec: string, ?labels: string) : Task = task {
        let labels = defaultArg labels "{}"

        let! _ =
            client.CustomObjects.PatchNamespacedCustomObjectAsync(
                apply
                    $$"""{"apiVersion":"{{RequestClone.kind.Name.ApiVersion}}","kind":"RequestClone","metadata":{"namespace":"{{ns}}","name":"{{name}}","labels":{{labels}}},"spec":{{spec}} }""",
                RequestClone.kind.Name.Group,
                RequestClone.kind.Name.Version,
                ns,
                RequestClone.kind.Name.Plural,
                name,
                fieldManager = "test",
                force = Nullable true
            )

        ()
    }

    member _.DeleteClone(ns: string, name: string) : Task = task {
        let! _ =
            client.CustomObjects.DeleteNamespacedCustomObjectAsync(
                RequestClone.kind.Name.Group,
                RequestClone.kind.Name.Version,
                ns,
                RequestClone.kind.Name.Plural,
                name
            )

        ()
    }

    /// Gives a RequestClone the status that the program which this one replaces wrote.
    member _.OldStatus(ns: string, name: string) : Task = task {
        let! _ =
            client.CustomObjects.PatchNamespacedCustomObjectStatusAsync(
                V1Patch(
                    JsonNode.Parse
                        """{"status":{"conditions":[{"type":"Ready","status":"True","reason":"ServiceBackendReady","message":"Service backend successfully registered","lastTransitionTime":"2024-01-01T00:00:00Z"}]}}""",
                    V1Patch.PatchType.MergePatch
                ),
                RequestClone.kind.Name.Group,
                RequestClone.kind.Name.Version,
                ns,
                RequestClone.kind.Name.Plural,
                name
            )

        ()
    }

    /// Status and reason of the Ready condition, where it and the status as a whole are about the object's present generation.
    member _.Ready(ns: string, name: string) : Task<(string * string) option> = task {
        let! item =
            client.CustomObjects.GetNamespacedCustomObjectAsync<JsonElement>(
                RequestClone.kind.Name.Group,
                RequestClone.kind.Name.Version,
                ns,
                RequestClone.kind.Name.Plural,
                name
            )

        let observed = ObservedObject.ofJson item

        return
            observed.Ready
            |> Option.filter (fun ready ->
                ready.ObservedGeneration = Some observed.Generation
                && observed.StatusGeneration = Some observed.Generation)
            |> Option.map (fun ready -> string ready.IsReady, ready.Reason)
    }

    /// Types and reasons of the events about RequestClones.
    member _.Events(ns: string) : Task<(string * string) list> = task {
        let! events = client.EventsV1.ListNamespacedEventAsync ns

        return [
            for event in events.Items do
                if event.Regarding.Kind = "RequestClone" then
                    event.Type, event.Reason
        ]
    }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            ValueTask(
                task {
                    for ns in created do
                        try
                            let! _ = client.CoreV1.DeleteNamespaceAsync ns
                            ()
                        with :? HttpOperationException ->
                            ()

                    client.Dispose()
                }
                :> Task
            )
