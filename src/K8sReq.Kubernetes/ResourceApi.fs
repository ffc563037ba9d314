namespace K8sReq.Kubernetes

open System
open System.Collections.Generic
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open k8s
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

    let private nameIn (scope: WatchScope) (kind: KindName) =
        match scope with
        | WatchScope.AllNamespaces -> $"{kind.Kind}s in all namespaces"
        | WatchScope.Namespace ns -> $"{kind.Kind}s in namespace {ns}"

    let private noneIfEmpty (text: string) = if text = "" then None else Some text

    // An object without a name is none that an API server sends: the watch starts again.
    let private read (kind: Kind<'T>) (item: JsonElement) : 'T =
        match Kind.key item with
        | Ok key -> kind.Read ObjectOrigin.Cluster key item
        | Error faults -> failwith (FieldFault.describeAll faults)

    let private versionOf = Json.textAt [ "metadata"; "resourceVersion" ]

    let private signal (kind: Kind<'T>) struct (event: WatchEventType, item: obj) : WatchSignal<'T> =
        let item = unbox<JsonElement> item

        match event with
        | WatchEventType.Bookmark -> WatchSignal.Bookmark(versionOf item)
        | WatchEventType.Deleted -> WatchSignal.Deleted(kind.KeyOf(read kind item), versionOf item)
        | _ -> WatchSignal.Applied(read kind item, versionOf item)

    let private page (kind: Kind<'T>) (answer: JsonElement) : Page<'T> = {
        Items =
            Json.tryField "items" answer
            |> Option.map Json.items
            |> Option.defaultValue []
            |> List.map (read kind)
        Version = versionOf answer
        Next = noneIfEmpty (Json.textAt [ "metadata"; "continue" ] answer)
    }

    /// Objects of a kind in a scope; those alone that the label selector selects, where the kind is subject to it.
    let create (kind: Kind<'T>) (selector: string) (scope: WatchScope) : ResourceApi<'T> =
        let {
                Group = group
                Version = version
                Plural = plural
            } =
            kind.Name

        let selector =
            (if kind.IsSelected then noneIfEmpty selector else None) |> Option.toObj

        // The client's calls for custom objects serve every kind: for a group that is empty they take the core group's paths.
        {
            Name = nameIn scope kind.Name
            Page =
                fun client next cancelled -> task {
                    let next = Option.toObj next

                    let! answer =
                        match scope with
                        | WatchScope.AllNamespaces ->
                            client.CustomObjects.ListClusterCustomObjectAsync<JsonElement>(
                                group,
                                version,
                                plural,
                                continueParameter = next,
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
                                continueParameter = next,
                                labelSelector = selector,
                                limit = pageSize,
                                cancellationToken = cancelled
                            )

                    return page kind answer
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

                    Mapped(events, signal kind)
        }
