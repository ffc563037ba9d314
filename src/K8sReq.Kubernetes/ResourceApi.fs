namespace K8sReq.Kubernetes

open System
open System.Collections.Generic
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open k8s
open k8s.Models
open K8sReq.Core
open K8sReq.Proxy

/// One page of a list.
type Page<'T> = {
    Items: 'T list
    Version: string
    Next: string option
}

/// A running watch: what comes, decoded. Its errors that are no exceptions go to the function it was opened with.
type WatchEvents<'T> = IAsyncEnumerable<WatchSignal<'T>>

/// How one kind is listed and watched in one scope.
type ResourceApi<'T> = {
    /// For messages: the kind, and where.
    Name: string
    Page: IKubernetes -> string option -> CancellationToken -> Task<Page<'T>>
    /// From this version, for so many seconds.
    Watch: IKubernetes -> string -> int -> (exn -> unit) -> CancellationToken -> WatchEvents<'T>
}

/// Turns every item of an asynchronous sequence into another one.
[<Sealed>]
type private Mapped<'A, 'B>(source: IAsyncEnumerable<'A>, map: 'A -> 'B) =
    interface IAsyncEnumerable<'B> with
        member _.GetAsyncEnumerator cancelled =
            let inner = source.GetAsyncEnumerator cancelled

            {
                new IAsyncEnumerator<'B> with
                    member _.Current = map inner.Current
                    member _.MoveNextAsync() = inner.MoveNextAsync()
                    member _.DisposeAsync() = inner.DisposeAsync()
            }

module ResourceApi =
    // Big enough for few round trips, small enough for an API server that is under load.
    let private pageSize = 500

    let private nameIn (scope: WatchScope) kind =
        match scope with
        | WatchScope.AllNamespaces -> $"{kind} in all namespaces"
        | WatchScope.Namespace ns -> $"{kind} in namespace {ns}"

    let private orNull (text: string option) : string | null = Option.toObj text

    let private noneIfEmpty (text: string | null) =
        Option.ofObj text |> Option.filter ((<>) "")

    // An object that the API server has sent: what cannot be read of it is a fault of the object, not of the watch.
    let private clone (item: JsonElement) : RequestClone =
        match Decode.key item with
        | Ok key -> {
            Key = key
            Spec = Decode.cloneSpec item
            Observed = Some(Decode.observed item)
          }
        | Error faults -> failwith (FieldFault.describeAll faults)

    let private textAt (path: string list) (item: JsonElement) =
        let rec go (value: JsonElement) path =
            match path with
            | [] when value.ValueKind = JsonValueKind.String -> string (value.GetString())
            | name :: rest when value.ValueKind = JsonValueKind.Object ->
                match value.TryGetProperty(name: string) with
                | true, inner -> go inner rest
                | false, _ -> ""
            | _ -> ""

        go item path

    let private versionOf = textAt [ "metadata"; "resourceVersion" ]

    let private cloneSignal struct (kind: WatchEventType, item: obj) =
        let item = unbox<JsonElement> item

        match kind with
        | WatchEventType.Bookmark -> WatchSignal.Bookmark(versionOf item)
        | WatchEventType.Deleted -> WatchSignal.Deleted((clone item).Key, versionOf item)
        | _ -> WatchSignal.Applied(clone item, versionOf item)

    /// RequestClones, those that the label selector selects.
    let clones (selector: string) (scope: WatchScope) : ResourceApi<RequestClone> =
        let selector = noneIfEmpty selector |> orNull
        let group, version, plural = Decode.Group, Decode.Version, Decode.Plural

        {
            Name = nameIn scope "RequestClones"
            Page =
                fun client page cancelled -> task {
                    let page = orNull page

                    let! answer =
                        match scope with
                        | WatchScope.AllNamespaces ->
                            client.CustomObjects.ListClusterCustomObjectAsync<JsonElement>(
                                group,
                                version,
                                plural,
                                continueParameter = page,
                                labelSelector = selector,
                                limit = pageSize,
                                cancellationToken = cancelled
                            )
                        | WatchScope.Namespace ns ->
                            client.CustomObjects.ListNamespacedCustomObjectAsync<JsonElement>(
                                group,
                                version,
                                ns,
                                plural,
                                continueParameter = page,
                                labelSelector = selector,
                                limit = pageSize,
                                cancellationToken = cancelled
                            )

                    return {
                        Items =
                            match answer.TryGetProperty "items" with
                            | true, items when items.ValueKind = JsonValueKind.Array -> [
                                for item in items.EnumerateArray() -> clone item
                              ]
                            | _ -> []
                        Version = versionOf answer
                        Next = textAt [ "metadata"; "continue" ] answer |> noneIfEmpty
                    }
                }
            Watch =
                fun client from seconds onError cancelled ->
                    let events =
                        match scope with
                        | WatchScope.AllNamespaces ->
                            client.CustomObjects.WatchListClusterCustomObjectAsync(
                                group,
                                version,
                                plural,
                                allowWatchBookmarks = true,
                                labelSelector = selector,
                                resourceVersion = from,
                                timeoutSeconds = seconds,
                                onError = Action<exn> onError,
                                cancellationToken = cancelled
                            )
                        | WatchScope.Namespace ns ->
                            client.CustomObjects.WatchListNamespacedCustomObjectAsync(
                                group,
                                version,
                                ns,
                                plural,
                                allowWatchBookmarks = true,
                                labelSelector = selector,
                                resourceVersion = from,
                                timeoutSeconds = seconds,
                                onError = Action<exn> onError,
                                cancellationToken = cancelled
                            )

                    Mapped(events, cloneSignal)
        }

    let private service (item: V1Service) : BackendService = Decode.typedService item

    let private serviceSignal struct (kind: WatchEventType, item: V1Service) =
        let version = string item.Metadata.ResourceVersion

        match kind with
        | WatchEventType.Bookmark -> WatchSignal.Bookmark version
        | WatchEventType.Deleted -> WatchSignal.Deleted((service item).Key, version)
        | _ -> WatchSignal.Applied(service item, version)

    let services (scope: WatchScope) : ResourceApi<BackendService> = {
        Name = nameIn scope "Services"
        Page =
            fun client page cancelled -> task {
                let page = orNull page

                let! answer =
                    match scope with
                    | WatchScope.AllNamespaces ->
                        client.CoreV1.ListServiceForAllNamespacesAsync(
                            continueParameter = page,
                            limit = pageSize,
                            cancellationToken = cancelled
                        )
                    | WatchScope.Namespace ns ->
                        client.CoreV1.ListNamespacedServiceAsync(
                            ns,
                            continueParameter = page,
                            limit = pageSize,
                            cancellationToken = cancelled
                        )

                return {
                    Items = [ for item in answer.Items -> service item ]
                    Version = string answer.Metadata.ResourceVersion
                    Next = noneIfEmpty answer.Metadata.ContinueProperty
                }
            }
        Watch =
            fun client from seconds onError cancelled ->
                let events =
                    match scope with
                    | WatchScope.AllNamespaces ->
                        client.CoreV1.WatchListServiceForAllNamespacesAsync(
                            allowWatchBookmarks = true,
                            resourceVersion = from,
                            timeoutSeconds = seconds,
                            onError = Action<exn> onError,
                            cancellationToken = cancelled
                        )
                    | WatchScope.Namespace ns ->
                        client.CoreV1.WatchListNamespacedServiceAsync(
                            ns,
                            allowWatchBookmarks = true,
                            resourceVersion = from,
                            timeoutSeconds = seconds,
                            onError = Action<exn> onError,
                            cancellationToken = cancelled
                        )

                Mapped(events, serviceSignal)
    }
