module K8sReq.Core.Tests.RoutingTests

open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private after events = Routing.fold Routing.initial events

let private tableFromNothing events =
    ClusterState.fold ClusterState.initial events |> RouteTable.ofState

let tests =
    testList "Routing" [
        property
            "after any events it is what a table made from nothing is"
            (fun (events: ClusterEvent list) ->
                let routing = after events
                let table = Routing.table routing
                let expected = tableFromNothing events

                table.Routes = expected.Routes
                && table.Clones = expected.Clones
                && routing.Counts = {
                                        Hosts = table.Routes.Count
                                        Targets = table.Routes |> Seq.sumBy _.Value.Length
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

                unchanged now.ChangedHosts before.Routes now.Routes
                && unchanged now.ChangedClones before.Clones now.Clones)

        property "the same listing again changes nothing" (fun (events: ClusterEvent list) ->
            let routing = Routing.settled (after events)

            let listed =
                ClusterEvent.ClonesListed(WatchScope.AllNamespaces, List.ofSeq routing.State.Clones.Values)

            let again = Routing.evolve routing listed
            again.ChangedClones.IsEmpty && again.ChangedHosts.IsEmpty)

        property
            "what names a Service is what is resolved anew when it changes, and nothing else"
            (fun (events: ClusterEvent list) ->
                let routing = after events

                let expected =
                    [
                        for clone in routing.State.Clones.Values do
                            match clone.Spec with
                            | Ok spec -> ObjectKey.create clone.Key.Namespace spec.ServiceName, clone.Key
                            | Error _ -> ()
                    ]
                    |> List.groupBy fst
                    |> List.map (fun (service, clones) -> service, clones |> List.map snd |> Set.ofList)
                    |> Map.ofList

                routing.Dependents = expected)
    ]
