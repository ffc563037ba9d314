/// A kind is one value: this file adds ConfigMaps, which the product does not know, and they are read from manifests, listed,
/// watched and stored by the same code as all others.
module K8sReq.Kubernetes.Tests.KindTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

type private ConfigMap = {
    Key: ObjectKey
    Mode: Result<string, FieldFault list>
}

let private decoder: Decoder<string> =
    Decoder.object (
        Decoder.required
            "data"
            (Decoder.object (
                Decoder.required
                    "mode"
                    (Decoder.text
                     |> Decoder.refine (fun path given ->
                         if given = "fast" || given = "slow" then
                             Ok given
                         else
                             Error(FieldFault.BadValue(path, given, "fast or slow"))))
            ))
    )

let private configMap: Kind<ConfigMap> = {
    Name = {
        Group = ""
        Version = "v1"
        Kind = "ConfigMap"
        Plural = "configmaps"
    }
    IsSelected = true
    Read =
        fun _ key manifest -> {
            Key = key
            Mode = Decoder.run decoder manifest
        }
    KeyOf = _.Key
    Faults =
        fun map ->
            match map.Mode with
            | Ok _ -> []
            | Error faults -> faults
}

let private source: SourceKind<ObjectEvent<ConfigMap>> =
    SourceKind.create configMap id

let private manifest name mode =
    $$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"shop","name":"{{name}}","labels":{"team":"a"} },"data":{"mode":{{mode}} } }"""

let private modes (store: ObjectStore<ConfigMap>) = [
    for pair in store.Objects -> pair.Key.Name, pair.Value.Mode
]

let private slowed = FieldFault.BadValue("data.mode", "walking", "fast or slow")

let tests =
    testList "Kind" [
        test "manifests of a new kind are read, and their faults are told with file and line" {
            use files = new TestFolder()
            files.Write("a.yaml", manifest "a" "\"fast\"" + "\n---\n" + manifest "b" "\"walking\"")
            files.Write("c.yaml", "apiVersion: v1\nkind: Configmaps\nmetadata: {name: c}\n")
            let content = (ManifestFolder([ source.Kind ], files.Path)).Scan()

            Expect.equal
                (FolderContent.toEvents [ source ] content
                 |> List.fold ObjectStore.evolve ObjectStore.empty
                 |> modes)
                [ "a", Ok "fast"; "b", Error [ slowed ] ]
                "both, the faulty one too"

            let place = IO.Path.Combine(files.Path, "a.yaml")
            let misspelt = IO.Path.Combine(files.Path, "c.yaml")

            Expect.equal
                (content.Problems |> List.map ManifestProblem.describe)
                [
                    $"{place}:3: ConfigMap shop/b is not valid: data.mode is \"walking\", but must be fast or slow"
                    $"{misspelt}:1: kind is \"Configmaps\", but must be ConfigMap"
                ]
                "what is wrong"
        }

        testCaseTask "objects of a new kind are listed and followed"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use folder = new TestFolder()
            server.Put(manifest "a" "\"fast\"")
            // Not selected.
            server.Put((manifest "other" "\"fast\"").Replace("\"team\":\"a\"", "\"team\":\"b\""))

            let access =
                match
                    ClusterAccess.find None (Map.ofList [ "KUBECONFIG", server.Kubeconfig folder.Path ])
                with
                | Ok access -> access
                | Error reason -> failtest reason

            use connection = new KubernetesConnection(access)
            use stop = new CancellationTokenSource()
            let events = ConcurrentQueue<ObjectEvent<ConfigMap>>()
            let order = ListingOrder([ source ], List.iter events.Enqueue)
            let scope = WatchScope.Namespace "shop"

            let running =
                ResourceWatcher(
                    NullLogger.Instance,
                    SourceMetrics TimeProvider.System,
                    WatchTimes.usual TimeProvider.System,
                    connection,
                    ResourceApi.create source.Kind "team=a" scope,
                    (fun action ->
                        WatchAction.tryEvent scope source.Kind.KeyOf action |> Option.iter (order.Add 0)),
                    ignore
                )
                    .RunAsync
                    stop.Token

            let becomes name expected =
                Waiting.until name (fun () ->
                    let store = events |> Seq.fold ObjectStore.evolve ObjectStore.empty
                    Task.FromResult((modes store = expected)))

            do! becomes "the listing" [ "a", Ok "fast" ]
            server.Put(manifest "b" "\"walking\"")
            do! becomes "a new one, with its fault" [ "a", Ok "fast"; "b", Error [ slowed ] ]
            Expect.isTrue (server.Delete("configmaps", "shop", "a")) "deleted"
            do! becomes "what is left" [ "b", Error [ slowed ] ]
            stop.Cancel()

            try
                do! running
            with :? OperationCanceledException ->
                ()
        }

        test "a kind's events wait until the kinds before it have been listed" {
            let scope = WatchScope.AllNamespaces
            let posted = ResizeArray<string list>()

            let kindCalled name : SourceKind<string> = {
                Kind = source.Kind
                ToEvent =
                    fun event ->
                        match event with
                        | ObjectEvent.Listed(_, objects) -> $"{name} listed {objects.Length}"
                        | ObjectEvent.Applied(key, _) -> $"{name} applied {key.Name}"
                        | ObjectEvent.Deleted key -> $"{name} deleted {key.Name}"
            }

            let order =
                ListingOrder([ kindCalled "first"; kindCalled "second"; kindCalled "third" ], posted.Add)

            let key = ObjectKey.create "shop" "a"
            let listed: ObjectEvent<obj> = ObjectEvent.Listed(scope, [])
            order.Add 2 listed
            order.Add 2 (ObjectEvent.Deleted key)
            order.Add 1 listed
            Expect.isEmpty posted "none of them can be judged yet"
            // A listing takes the place of all that came before it.
            order.Add 2 listed
            order.Add 0 listed
            order.Add 2 (ObjectEvent.Deleted key)

            Expect.equal
                (List.ofSeq posted)
                [
                    [ "first listed 0"; "second listed 0"; "third listed 0" ]
                    [ "third deleted a" ]
                ]
                "together, in the order of the kinds"
        }
    ]
