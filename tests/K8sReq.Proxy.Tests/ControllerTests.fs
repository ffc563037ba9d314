module K8sReq.Proxy.Tests.ControllerTests

open System.Net
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private everything = Set.singleton WatchScope.AllNamespaces

let private service port : BackendService = {
    Key = ObjectKey.create "shop" "app"
    Address = ServiceAddress.ClusterIP IPAddress.Loopback
    Ports = [
        {
            Name = Some "http"
            Number = port
            Protocol = "TCP"
            AppProtocol = None
        }
    ]
}

let private clone: RequestClone = {
    Key = ObjectKey.create "shop" "copy"
    Spec =
        HostName.parse "a.example"
        |> Result.map (fun host -> CloneSpec.create host "app" (PortRef.Named "http"))
        |> Result.mapError (fun _ -> [])
    Observed = None
}

let private clonesListed =
    ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [ clone ])

let private servicesListed port =
    ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [ service port ])

let private publishTo (holder: SnapshotHolder) (routing: Routing) =
    holder.Publish {
        Snapshot.empty with
            Table = Routing.table routing
            Counts = routing.Counts
    }

/// Runs a controller for as long as the test takes.
let private withController test = task {
    use stop = new CancellationTokenSource()
    let log = new LogKeeper()
    let holder = SnapshotHolder()

    let controller =
        Controller(log, TargetPolicy.permissive, everything, holder, publishTo holder)

    let running = controller.RunAsync stop.Token
    do! test controller holder log
    stop.Cancel()
    do! running.ContinueWith(fun (_: Task) -> ())
}

let private routedTo port (holder: SnapshotHolder) =
    Waiting.until $"a route to port {port}" (fun () ->
        holder.Current.Table.Find "a.example"
        |> Array.exists (fun target -> target.Port = port)
        |> Task.FromResult)

let tests =
    testList "Controller" [
        testCaseTask "no table is known before both kinds have been listed"
        <| fun () -> task {
            do!
                withController (fun controller holder _ -> task {
                    controller.Post [ clonesListed ]
                    controller.Post [ ClusterEvent.ServiceApplied(service 80) ]
                    Expect.isFalse holder.IsKnown "not yet"
                    controller.Post [ servicesListed 80 ]
                    do! holder.WhenKnown |> _.WaitAsync(Waiting.patience)
                    Expect.equal (holder.Current.Table.Find "a.example").Length 1 "with its route"
                })
        }

        testCaseTask "an empty cluster is known too"
        <| fun () -> task {
            do!
                withController (fun controller holder _ -> task {
                    controller.Post [
                        ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [])
                        ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [])
                    ]

                    do! holder.WhenKnown |> _.WaitAsync(Waiting.patience)
                    Expect.equal holder.Current.Table.Routes.Count 0 "nothing routed"
                })
        }

        testCaseTask "a change is published, and what is not routed is said once, with the reason"
        <| fun () -> task {
            do!
                withController (fun controller holder log -> task {
                    controller.Post [ clonesListed; servicesListed 80 ]
                    do! routedTo 80 holder
                    controller.Post [ servicesListed 81 ]
                    do! routedTo 81 holder
                    controller.Post [ ClusterEvent.ServiceDeleted(ObjectKey.create "shop" "app") ]

                    do!
                        Waiting.until "the route to go" (fun () ->
                            Task.FromResult(holder.Current.Table.Find("a.example").Length = 0))

                    // Something else changes; the reason is the same.
                    controller.Post [
                        ClusterEvent.ServiceApplied {
                            service 1 with
                                Key = ObjectKey.create "blog" "x"
                        }
                    ]

                    controller.Post [ servicesListed 82 ]
                    do! routedTo 82 holder

                    let reasons =
                        log.Lines
                        |> List.filter (fun line -> line.Contains "RequestClone shop/copy is not routed")

                    Expect.equal reasons.Length 1 "once"
                    Expect.stringContains reasons.Head "Service shop/app does not exist" "why"
                })
        }

        testCaseTask "events that belong together are never seen apart"
        <| fun () -> task {
            do!
                withController (fun controller holder _ -> task {
                    controller.Post [ clonesListed; servicesListed 80 ]
                    do! routedTo 80 holder
                    let mutable isOver = false
                    let mutable gaps = 0

                    let watching =
                        Task.Run(fun () ->
                            while not (Volatile.Read &isOver) do
                                if holder.Current.Table.Find("a.example").Length <> 1 then
                                    gaps <- gaps + 1)

                    for port in 1..2000 do
                        controller.Post [
                            ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [])
                            servicesListed port
                        ]

                    do! routedTo 2000 holder
                    Volatile.Write(&isOver, true)
                    do! watching
                    Expect.equal gaps 0 "always one target"
                })
        }
    ]
