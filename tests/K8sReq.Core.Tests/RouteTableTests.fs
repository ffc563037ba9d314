module K8sReq.Core.Tests.RouteTableTests

open System.Collections.Generic
open Expecto
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

/// A naive model: what exists is what the last event about it said; routes are found by searching all of it.
module private Model =
    let private lastWord (key: ObjectKey) (about: ClusterEvent -> (ObjectKey -> 'T option option)) events =
        events
        |> List.rev
        |> List.tryPick (fun event -> about event key)
        |> Option.flatten

    let private objectIn event key =
        match event with
        | ObjectEvent.Applied(applied, value) when applied = key -> Some(Some value)
        | ObjectEvent.Deleted deleted when deleted = key -> Some None
        | ObjectEvent.Listed(scope, listed) when WatchScope.covers scope key ->
            Some(
                listed
                |> List.tryFindBack (fun (listedKey, _) -> listedKey = key)
                |> Option.map snd
            )
        | _ -> None

    let private cloneIn event key =
        match event with
        | ClusterEvent.Clone event -> objectIn event key
        | _ -> None

    let private serviceIn event key =
        match event with
        | ClusterEvent.Service event -> objectIn event key
        | _ -> None

    let private keys = [
        for ns in [ "blog"; "shop" ] do
            for name in [ "a"; "b"; "c" ] -> ObjectKey.create ns name
    ]

    let clones events : RequestClone list =
        keys |> List.choose (fun key -> lastWord key cloneIn events)

    let services events : BackendService list =
        keys |> List.choose (fun key -> lastWord key serviceIn events)

    /// Host, RequestClone and endpoint of everything that is routed.
    let routes events =
        [
            for clone in clones events do
                match clone.Spec with
                | Error _ -> ()
                | Ok spec ->
                    for service in services events do
                        let isBackend =
                            service.Key.Namespace = clone.Key.Namespace
                            && service.Key.Name = spec.ServiceName

                        let port =
                            service.Ports
                            |> List.tryFind (fun port ->
                                port.Protocol = "TCP"
                                && (match spec.ServicePort with
                                    | PortRef.Named name -> port.Name = Some name
                                    | PortRef.Number number -> port.Number = number
                                    | PortRef.Unnamed -> port.Name = None))

                        match service.Address, port with
                        | ServiceAddress.ClusterIP address, Some port when isBackend ->
                            spec.Host.Value, string clone.Key, (string address, port.Number)
                        | _ -> ()
        ]
        |> List.sort

let private routesOf (table: RouteTable) =
    [
        for host, targets in table.Routes.Ordered do
            for target in targets -> host.Value, string target.Clone, (string target.Address, target.Port)
    ]
    |> List.sort

let private tableAfter events =
    ClusterState.fold ClusterState.initial events |> RouteTable.ofState

let private twoTargets =
    let service name address : BackendService = {
        Key = ObjectKey.create "shop" name
        Address = ServiceAddress.ClusterIP(System.Net.IPAddress.Parse(address: string))
        Ports = [
            {
                Name = Some "http"
                Number = 80
                Protocol = "TCP"
                AppProtocol = None
            }
        ]
    }

    let clone ns name service : RequestClone = {
        Key = ObjectKey.create ns name
        Spec =
            Ok {
                Host = host "one.example"
                Matches = []
                Filters = []
                ServiceName = service
                ServicePort = PortRef.Named "http"
                Delivery = DeliveryPolicy.byDefault
            }
        Observed = None
    }

    [
        ClusterEvent.ServiceApplied(service "a" "10.0.0.1")
        ClusterEvent.ServiceApplied(service "b" "10.0.0.2")
        ClusterEvent.CloneApplied(clone "shop" "b" "b")
        ClusterEvent.CloneApplied(clone "shop" "a" "a")
        ClusterEvent.CloneApplied(clone "blog" "a" "a")
    ]

let tests =
    testList "RouteTable" [
        property "equals a naive rebuild from what exists" (fun (events: ClusterEvent list) ->
            let expected = Model.routes events

            routesOf (tableAfter events) = expected
            |> Prop.classify (List.isEmpty expected) "nothing routed"
            |> Prop.classify (List.length expected = 1) "one route"
            |> Prop.classify (List.length expected > 1) "several routes"
            |> Prop.classify
                (expected
                 |> List.countBy (fun (host, _, _) -> host)
                 |> List.exists (fun (_, count) -> count > 1))
                "several targets of one host")

        property
            "every RequestClone is either routed or listed as unrouted"
            (fun (events: ClusterEvent list) ->
                let table = tableAfter events
                let routed = routesOf table |> List.map (fun (_, clone, _) -> clone)
                let unrouted = table.Unrouted |> List.map (fst >> string)

                List.sort (routed @ unrouted) =
                    (Model.clones events |> List.map (_.Key >> string) |> List.sort))

        property
            "no RequestClone is routed to an address that its Service does not have now"
            (fun (events: ClusterEvent list) ->
                let services =
                    Model.services events |> List.map (fun service -> service.Key, service) |> dict

                tableAfter events
                |> _.Routes.Ordered
                |> Seq.collect snd
                |> Seq.forall (fun target ->
                    services.ContainsKey target.Service
                    && services[target.Service].Address = ServiceAddress.ClusterIP target.Address
                    && services[target.Service].Ports
                       |> List.exists (fun port -> port.Number = target.Port)))

        property "every accepted spelling of a host finds the same targets" (fun (spelling: HostSpelling) ->
            let clone: RequestClone = {
                Key = ObjectKey.create "shop" "x"
                Spec =
                    Ok {
                        Host = host spelling.Means
                        Matches = []
                        Filters = []
                        ServiceName = "a"
                        ServicePort = PortRef.Number 80
                        Delivery = DeliveryPolicy.byDefault
                    }
                Observed = None
            }

            let table = tableAfter (twoTargets @ [ ClusterEvent.CloneApplied clone ])

            table.Find(spelling.Text).Length = 1
            && table.Find(spelling.Text) = table.Find(spelling.Means))

        test "every RequestClone of a host is a target, in the order of their keys" {
            let targets = (tableAfter twoTargets).Find "ONE.example.:8080"
            let clones = targets |> Array.map (fun target -> string target.Clone)
            Expect.equal clones [| "shop/a"; "shop/b" |] "the two whose Service exists"
        }

        test "an IPv6 host is found by any of its spellings" {
            let clone: RequestClone = {
                Key = ObjectKey.create "shop" "six"
                Spec =
                    Ok {
                        Host = host "[::1]"
                        Matches = []
                        Filters = []
                        ServiceName = "a"
                        ServicePort = PortRef.Number 80
                        Delivery = DeliveryPolicy.byDefault
                    }
                Observed = None
            }

            let table = tableAfter (twoTargets @ [ ClusterEvent.CloneApplied clone ])

            for spelling in [ "[::1]"; "[::1]:80"; "[0:0:0:0:0:0:0:1]:80" ] do
                Expect.equal (table.Find(spelling).Length) 1 spelling
        }

        test "a host that nothing asks for has no targets" {
            for unknown in [ ""; "."; ":"; "two.example"; "[::1]"; "["; "one.example.."; "xone.example" ] do
                Expect.isEmpty ((tableAfter twoTargets).Find unknown) unknown
        }

        test "the empty table routes nothing" {
            Expect.isEmpty (RouteTable.find "one.example" RouteTable.empty) "no targets"
            Expect.isEmpty RouteTable.empty.Unrouted "nothing unrouted"
        }
    ]
