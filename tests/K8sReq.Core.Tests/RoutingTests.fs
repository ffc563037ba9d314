module K8sReq.Core.Tests.RoutingTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private after events = Routing.fold Routing.initial events

let private tableFromNothing events =
    ClusterState.fold ClusterState.initial events |> RouteTable.ofState

// What the work allocates: a measure of it that depends on no clock.
let private allocated (work: unit -> 'T) : float =
    let once () =
        let before = GC.GetAllocatedBytesForCurrentThread()
        let result = work ()
        let after = GC.GetAllocatedBytesForCurrentThread()
        GC.KeepAlive(box result)
        float (after - before)

    once () |> ignore
    once ()

let private service port : BackendService = {
    Key = ObjectKey.create "shop" "app"
    Address = ServiceAddress.ClusterIP Net.IPAddress.Loopback
    Ports = [
        {
            Name = Some "http"
            Number = port
            Protocol = "TCP"
            AppProtocol = None
        }
    ]
}

// So many RequestClones, of one host or of a host each, in an order that is not theirs.
let private clones (isOneHost: bool) (count: int) : RequestClone list = [
    for n in 0 .. count - 1 ->
        let number = n * 7919 % count

        {
            Key = ObjectKey.create "shop" $"copy{number:D5}"
            Spec =
                Ok {
                    Host = host (if isOneHost then "a.example" else $"h{number:D5}.example")
                    Matches = []
                    Filters = []
                    ServiceName = "app"
                    ServicePort = PortRef.Named "http"
                    Delivery = DeliveryPolicy.byDefault
                }
            Observed = None
        }
]

let private listed clones =
    [
        ClusterEvent.ServiceApplied(service 80)
        ClusterEvent.ClonesListed(WatchScope.AllNamespaces, clones)
    ]
    |> after

/// Ways by which many RequestClones change: what there is before, and the events.
let private bulkChanges = [
    "a listing",
    fun clones -> Routing.initial, [ ClusterEvent.ClonesListed(WatchScope.AllNamespaces, clones) ]
    "one after the other", fun clones -> Routing.initial, clones |> List.map ClusterEvent.CloneApplied
    "all are deleted",
    fun clones ->
        listed clones,
        clones
        |> List.map (fun (clone: RequestClone) -> ClusterEvent.CloneDeleted clone.Key)
    "their Service changes", fun clones -> listed clones, [ ClusterEvent.ServiceApplied(service 81) ]
]

let private scaleTests =
    testList "many RequestClones of one host" [
        for name, change in bulkChanges do
            test $"{name}: cost what as many hosts do" {
                let cost isOneHost count =
                    let before, events = change (clones isOneHost count)
                    let service = ClusterEvent.ServiceApplied(service 81)
                    allocated (fun () -> Routing.fold before (service :: events))

                let one, twice, hosts = cost true 500, cost true 1000, cost false 500
                Expect.isLessThan (twice / one) 2.5 "twice as many cost about twice as much"
                Expect.isLessThan (one / hosts) 1.5 "and not more than a host each"
            }

        test "one that changes costs a copy of the host's array, which is 8 bytes each" {
            let single count =
                let routing = listed (clones true count)
                let changed = ClusterEvent.CloneDeleted(ObjectKey.create "shop" "copy00777")
                allocated (fun () -> Routing.evolve routing changed)

            let more = single 9000 - single 1000
            Expect.isLessThan (more / 8000.0) 24.0 "bytes for each further target"
        }

        test "a RequestClone is looked at again when the Service of its sink comes, changes or goes" {
            let sink port = {
                service port with
                    Key = ObjectKey.create "shop" "dead"
            }

            let clone = {
                List.exactlyOne (clones true 1) with
                    Spec =
                        Ok {
                            Host = host "a.example"
                            Matches = []
                            Filters = []
                            ServiceName = "app"
                            ServicePort = PortRef.Named "http"
                            Delivery = {
                                DeliveryPolicy.byDefault with
                                    DeadLetterSink =
                                        Some {
                                            ServiceName = "dead"
                                            ServicePort = PortRef.Named "http"
                                        }
                            }
                        }
            }

            let withJournal = {
                Routing.initial with
                    Policy = {
                        TargetPolicy.permissive with
                            HasJournal = true
                            Durability = Durability.Journal
                    }
            }

            let before =
                Routing.fold withJournal [
                    ClusterEvent.ServiceApplied(service 80)
                    ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [ clone ])
                ]
                |> Routing.settled

            let portOf (routing: Routing) =
                match routing.Clones[clone.Key].Resolved with
                | Error error -> failtest $"{error}"
                | Ok target ->
                    Resolution.sinkOf routing.State.Services.Objects target
                    |> Option.map (Result.map _.Port >> Result.toOption)

            Expect.equal (portOf before) (Some None) "it is routed all the same"
            let came = Routing.evolve before (ClusterEvent.ServiceApplied(sink 81))
            Expect.equal (portOf came) (Some(Some 81)) "it came"
            Expect.isTrue (came.ChangedClones.Contains clone.Key) "and is told"

            let changed =
                Routing.evolve (Routing.settled came) (ClusterEvent.ServiceApplied(sink 82))

            Expect.equal (portOf changed) (Some(Some 82)) "it changed"
            Expect.isTrue (changed.ChangedClones.Contains clone.Key) "and is told"
            let gone = Routing.evolve changed (ClusterEvent.ServiceDeleted (sink 82).Key)
            Expect.equal (portOf gone) (Some None) "it is gone"

            let backendGone =
                Routing.evolve changed (ClusterEvent.ServiceDeleted (service 80).Key)

            Expect.isError backendGone.Clones[clone.Key].Resolved "the backend still counts"
        }

        test "the order of the array is that of the keys, however it has come about" {
            let all = clones true 300
            let routing = after [ ClusterEvent.ServiceApplied(service 80) ]

            let routing =
                (routing, all)
                ||> List.fold (fun routing clone -> Routing.evolve routing (ClusterEvent.CloneApplied clone))

            let keys =
                (routing.Routes.TryGet(host "a.example")).Value
                |> Array.map (fun target -> target.Clone)

            Expect.equal keys (keys |> Array.sort) "sorted"
            Expect.hasLength keys 300 "all"
        }
    ]

let private asMap (routes: HostMap<Target[]>) = Map.ofList routes.Ordered

// Two of a namespace for a host, by name; and those that are left out.
let private limitedTable events =
    let table = tableFromNothing events

    let kept (targets: Target[]) =
        targets
        |> Array.groupBy _.Clone.Namespace
        |> Array.collect (fun (_, ofNamespace) -> Array.truncate 2 ofNamespace)
        |> Array.sortBy _.Clone

    let all = asMap table.Routes
    let routes = all |> Map.map (fun _ targets -> kept targets)

    let excess = [
        for KeyValue(host, targets) in all do
            for target in targets do
                if not (Array.contains target routes[host]) then
                    target.Clone
    ]

    routes, Set.ofList excess

let private limited = {
    Routing.initial with
        Policy = {
            TargetPolicy.permissive with
                MostPerHost = 2
        }
}

let private agreesWithLimit (events: ClusterEvent list) (routing: Routing) =
    let routes, excess = limitedTable events

    let saidSo =
        routing.Clones
        |> Map.filter (fun _ clone ->
            match clone.Resolved with
            | Error(ResolutionError.TooManyForHost _) -> true
            | _ -> false)
        |> Map.keys
        |> Set.ofSeq

    let targets = routes |> Map.values |> Seq.sumBy Array.length

    asMap routing.Routes = routes
    && saidSo = excess
    && Set.ofSeq (Map.keys routing.Excess) = excess
    && routing.Counts = {
                            Hosts = routes.Count
                            Targets = targets
                            Unrouted = routing.Clones.Count - targets
                        }

let tests =
    testList "Routing" [
        scaleTests

        property
            "of a namespace's RequestClones for a host the first ones by name are routed, and it is said of the others"
            (fun (first: ClusterEvent list) (second: ClusterEvent list) ->
                let before = Routing.fold limited first

                agreesWithLimit first before
                && agreesWithLimit (first @ second) (Routing.fold before second)
                && agreesWithLimit (first @ second) (List.fold Routing.evolve before second))

        test "one that is too many is routed when another one goes, and a Service that changes moves neither" {
            let count = 5
            let all = clones true count

            let routing =
                Routing.fold limited [
                    ClusterEvent.ServiceApplied(service 80)
                    ClusterEvent.ClonesListed(WatchScope.AllNamespaces, all)
                ]

            let routed (routing: Routing) =
                (routing.Routes.TryGet(host "a.example")).Value
                |> Array.map _.Clone.Name
                |> List.ofArray

            let names = all |> List.map _.Key.Name |> List.sort
            Expect.equal (routed routing) (List.take 2 names) "the first two"

            let changed =
                Routing.evolve (Routing.settled routing) (ClusterEvent.ServiceApplied(service 81))

            Expect.equal (routed changed) (List.take 2 names) "the same"
            let without = Routing.evolve changed (ClusterEvent.CloneDeleted all.Head.Key)
            Expect.equal (routed without) (List.take 2 names.Tail) "the next one"
            Expect.equal without.Counts.Unrouted 2 "the others are left out"

            Expect.isTrue
                (without.ChangedClones.Contains(ObjectKey.create "shop" names[2]))
                "its status changes"
        }

        property
            "events at once lead to what they lead to one by one"
            (fun (first: ClusterEvent list) (second: ClusterEvent list) ->
                let before = after first
                let oneByOne = List.fold Routing.evolve before second
                let atOnce = Routing.fold before second

                asMap atOnce.Routes = asMap oneByOne.Routes
                && atOnce.Counts = oneByOne.Counts
                && atOnce.Clones = oneByOne.Clones
                && atOnce.ChangedClones = oneByOne.ChangedClones)

        property
            "after any events it is what a table made from nothing is"
            (fun (events: ClusterEvent list) ->
                let routing = after events
                let table = Routing.table routing
                let expected = tableFromNothing events

                asMap table.Routes = asMap expected.Routes
                && table.Clones = expected.Clones
                && routing.Counts = {
                                        Hosts = table.Routes.Count
                                        Targets = table.Routes.Ordered |> Seq.sumBy (snd >> Array.length)
                                        Unrouted = table.Unrouted.Length
                                    }
                && routing.State = ClusterState.fold ClusterState.initial events)

        property
            "hosts and RequestClones that are not said to have changed are as they were"
            (fun (first: ClusterEvent list) (second: ClusterEvent list) ->
                let before = Routing.settled (after first)
                let now = Routing.fold before second

                let unchanged (changed: Set<'K>) (one: Map<'K, 'V>) (other: Map<'K, 'V>) =
                    Seq.append one.Keys other.Keys
                    |> Seq.forall (fun key -> changed.Contains key || one.TryFind key = other.TryFind key)

                unchanged now.ChangedHosts (asMap before.Routes) (asMap now.Routes)
                && unchanged now.ChangedClones before.Clones now.Clones)

        property "the same listing again changes nothing" (fun (events: ClusterEvent list) ->
            let routing = Routing.settled (after events)

            let listed =
                ClusterEvent.ClonesListed(
                    WatchScope.AllNamespaces,
                    List.ofSeq routing.State.Clones.Objects.Values
                )

            let again = Routing.evolve routing listed
            again.ChangedClones.IsEmpty && again.ChangedHosts.IsEmpty)

        property
            "what names a Service is what is resolved again when it changes, and nothing else"
            (fun (events: ClusterEvent list) ->
                let routing = after events

                let expected =
                    [
                        for clone in routing.State.Clones.Objects.Values do
                            match clone.Spec with
                            | Ok spec -> ObjectKey.create clone.Key.Namespace spec.ServiceName, clone.Key
                            | Error _ -> ()
                    ]
                    |> List.groupBy fst
                    |> List.map (fun (service, clones) -> service, clones |> List.map snd |> Set.ofList)
                    |> Map.ofList

                routing.Dependents = expected)
    ]
