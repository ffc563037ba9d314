/// How each end of a watch is told apart, over the real client.
module K8sReq.Kubernetes.Tests.WatchStreamTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Kubernetes
open K8sReq.TestKit.ClusterObjects
open K8sReq.TestKit

let private idle = TimeSpan.FromMinutes 5.0

/// A watch of Services while the test goes on, and its end. From the version that is now, or from one that is forgotten,
/// which the server answers so.
let private watching
    (clock: TimeProvider)
    (expiry: ExpiryAnswer option)
    (test: ApiServer -> ResizeArray<WatchSignal<BackendService>> -> CancellationTokenSource -> Task<unit>)
    : Task<WatchEnd> = task {
    use! server = ApiServer.Create()
    server.Token <- Some "token"
    server.Put(service "shop" "app" "10.0.0.1" 80)
    use folder = new TestFolder()

    let access =
        match ClusterAccess.find None (Map.ofList [ "KUBECONFIG", server.Kubeconfig folder.Path ]) with
        | Ok access -> access
        | Error reason -> failtest reason

    use connection = new KubernetesConnection(access)
    let api = ResourceApi.create BackendService.kind "" WatchScope.AllNamespaces
    let signals = ResizeArray()
    use stop = new CancellationTokenSource()
    let version = server.ResourceVersion

    match expiry with
    | Some answer ->
        server.Expiry <- answer
        server.Forget()
    | None -> ()

    let running =
        WatchStream.run clock idle (api.Watch connection.Client version 300) signals.Add stop.Token

    if expiry.IsNone then
        do! Waiting.until "the watch" (fun () -> Task.FromResult((server.OpenWatches = 1)))

    do! test server signals stop
    let! reason = running |> Waiting.within "the end of the watch"
    // Whatever the end was, nothing is left of it.
    do! Waiting.until "the watch to be closed" (fun () -> Task.FromResult((server.OpenWatches = 0)))
    return reason
}

let private ends name (expected: WatchEnd -> bool) (act: ApiServer -> unit) =
    testCaseTask name
    <| fun () -> task {
        let! reason =
            watching TimeProvider.System None (fun server _ _ -> task { act server })

        Expect.isTrue (expected reason) $"{reason}"
    }

let private isUnreachable reason =
    match reason with
    | WatchEnd.Failed(WatchFault.Unreachable _) -> true
    | _ -> false

let private expires answer name =
    testCaseTask name
    <| fun () -> task {
        let! reason = watching TimeProvider.System (Some answer) (fun _ _ _ -> task { () })

        Expect.equal reason WatchEnd.Expired "expired"
    }

let tests =
    testList "WatchStream" [
        ends "closed before any event" ((=) WatchEnd.Closed) (fun server -> server.CloseWatches() |> ignore)
        ends "reset" isUnreachable (fun server -> server.ResetWatches() |> ignore)
        ends "a line that is no JSON" isUnreachable (fun server -> server.SendRaw "{no JSON" |> ignore)

        ends "an ERROR event with another code" isUnreachable (fun server ->
            server.SendRaw
                """{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":500,"message":"oops"}}"""
            |> ignore)

        ends "an ERROR event that says expired" ((=) WatchEnd.Expired) (fun server ->
            server.SendRaw
                """{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired","message":"too old"}}"""
            |> ignore)

        expires ExpiryAnswer.Status "a version that is too old, answered 410"
        expires ExpiryAnswer.ErrorEvent "a version that is too old, said in the stream"

        testCaseTask "events come in their order, and a bookmark with its version"
        <| fun () -> task {
            let mutable seen = []
            let mutable version = ""

            let! reason =
                watching TimeProvider.System None (fun server signals _ -> task {
                    server.Put(service "shop" "app" "10.0.0.2" 80)
                    server.Put(service "shop" "other" "10.0.0.3" 80)
                    server.Delete("services", "shop", "app") |> ignore
                    version <- server.ResourceVersion
                    server.SendBookmarks() |> ignore
                    server.CloseWatches() |> ignore

                    do! Waiting.until "all signals" (fun () -> Task.FromResult((signals.Count = 4)))

                    seen <- List.ofSeq signals
                })

            Expect.equal reason WatchEnd.Closed "closed"

            match seen with
            | [ WatchSignal.Applied(changed, _)
                WatchSignal.Applied(added, _)
                WatchSignal.Deleted(key, _)
                WatchSignal.Bookmark at ] ->
                Expect.equal (changed.Key.Name, added.Key.Name, key.Name) ("app", "other", "app") "in order"

                Expect.equal
                    changed.Address
                    (ServiceAddress.ClusterIP(Net.IPAddress.Parse "10.0.0.2"))
                    "as it is now"

                Expect.equal at version "the bookmark"
            | other -> failtest $"{other}"
        }

        testCaseTask "a peer that says nothing any more"
        <| fun () -> task {
            let clock = TestClock()

            let! reason =
                watching clock None (fun server _ _ -> task {
                    server.StallWatches() |> ignore
                    server.Put(service "shop" "app" "10.0.0.9" 80)
                    clock.Advance idle
                })

            Expect.equal reason WatchEnd.Idle "idle"
        }

        testCaseTask "an event begins the time again"
        <| fun () -> task {
            let clock = TestClock()
            let almost = idle - TimeSpan.FromSeconds 1.0

            let! reason =
                watching clock None (fun server signals _ -> task {
                    clock.Advance almost
                    server.Put(service "shop" "app" "10.0.0.9" 80)
                    do! Waiting.until "the event" (fun () -> Task.FromResult((signals.Count = 1)))
                    clock.Advance almost
                    server.Put(service "shop" "app" "10.0.0.8" 80)
                    do! Waiting.until "the event" (fun () -> Task.FromResult((signals.Count = 2)))
                    server.CloseWatches() |> ignore
                })

            Expect.equal reason WatchEnd.Closed "it was not idle"
        }

        testCaseTask "told to stop it throws, and closes the watch"
        <| fun () -> task {
            let ended =
                watching TimeProvider.System None (fun _ _ stop -> task { stop.Cancel() })

            try
                let! reason = ended
                failtest $"{reason}"
            with :? OperationCanceledException ->
                ()
        }

        for code, expected in
            [
                401,
                (fun reason ->
                    match reason with
                    | WatchEnd.Failed(WatchFault.Unauthorized _) -> true
                    | _ -> false)
                403,
                (fun reason ->
                    match reason with
                    | WatchEnd.Failed(WatchFault.Forbidden _) -> true
                    | _ -> false)
                404,
                (fun reason ->
                    match reason with
                    | WatchEnd.Failed(WatchFault.UnknownKind _) -> true
                    | _ -> false)
                500, isUnreachable
                504, isUnreachable
            ] do
            testCaseTask $"answered {code}"
            <| fun () -> task {
                use! server = ApiServer.Create()
                server.Token <- Some "token"
                server.Fault <- fun _ -> Some(Fault.Status code)
                use folder = new TestFolder()

                match
                    ClusterAccess.find None (Map.ofList [ "KUBECONFIG", server.Kubeconfig folder.Path ])
                with
                | Error reason -> failtest reason
                | Ok access ->
                    use connection = new KubernetesConnection(access)
                    let api = ResourceApi.create RequestClone.kind "" WatchScope.AllNamespaces

                    let! reason =
                        WatchStream.run
                            TimeProvider.System
                            idle
                            (api.Watch connection.Client "1" 300)
                            ignore
                            CancellationToken.None

                    Expect.isTrue (expected reason) $"{reason}"
            }
    ]
