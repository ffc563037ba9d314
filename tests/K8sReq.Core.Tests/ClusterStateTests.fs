module K8sReq.Core.Tests.ClusterStateTests

open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private after events =
    ClusterState.fold ClusterState.initial events

let private scopeOf event =
    match event with
    | ObjectEvent.Applied(key, _)
    | ObjectEvent.Deleted key -> Choice1Of2 key
    | ObjectEvent.Listed(scope, _) -> Choice2Of2 scope

let private scopesOf event =
    match event with
    | ClusterEvent.Clone event -> scopeOf event
    | ClusterEvent.Service event -> scopeOf event
    | ClusterEvent.ScopeDenied scope -> Choice2Of2 scope

let tests =
    testList "ClusterState" [
        property "applying the same event twice changes nothing" (fun (events: ClusterEvent list) event ->
            let once = after (events @ [ event ])
            ClusterState.evolve once event = once)

        property "events on different keys commute" (fun (events: ClusterEvent list) first second ->
            match scopesOf first, scopesOf second with
            | Choice1Of2 a, Choice1Of2 b when a <> b ->
                after (events @ [ first; second ]) = after (events @ [ second; first ])
            | _ -> true)

        property
            "a relist of everything forgets the past"
            (fun (past: ClusterEvent list) (now: ClusterEvent list) ->
                let isListing event =
                    match event with
                    | ClusterEvent.Clone(ObjectEvent.Listed(WatchScope.AllNamespaces, _))
                    | ClusterEvent.Service(ObjectEvent.Listed(WatchScope.AllNamespaces, _)) -> true
                    | _ -> false

                let listings =
                    [
                        ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [])
                        ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [])
                    ]
                    @ List.filter isListing now

                let remembered = after (past @ listings)
                let fresh = after listings

                remembered.Clones.Objects = fresh.Clones.Objects
                && remembered.Services.Objects = fresh.Services.Objects)

        property "a relist of a namespace leaves the others alone" (fun (past: ClusterEvent list) ->
            let before = after past

            let emptied =
                ClusterState.evolve before (ClusterEvent.ClonesListed(WatchScope.Namespace "shop", []))

            emptied.Clones.Objects =
                (before.Clones.Objects |> Map.filter (fun key _ -> key.Namespace <> "shop"))
            && emptied.Services = before.Services)

        test "synced only once both kinds have been listed in every scope" {
            let shop, blog = WatchScope.Namespace "shop", WatchScope.Namespace "blog"
            let scopes = set [ shop; blog ]

            let steps = [
                ClusterEvent.ClonesListed(shop, [])
                ClusterEvent.ServicesListed(shop, [])
                ClusterEvent.ClonesListed(blog, [])
                ClusterEvent.ServicesListed(blog, [])
            ]

            let synced =
                steps
                |> List.scan ClusterState.evolve ClusterState.initial
                |> List.map (ClusterState.isSynced scopes)

            Expect.equal synced [ false; false; false; false; true ] "at the last step only"
        }

        test "a scope that may not be read is passed over, if another one is known" {
            let shop, blog = WatchScope.Namespace "shop", WatchScope.Namespace "blog"

            let isSynced events =
                ClusterState.isSynced (set [ shop; blog ]) (after events)

            let denied = [ ClusterEvent.ScopeDenied blog; ClusterEvent.ClonesListed(blog, []) ]

            let listed = [ ClusterEvent.ClonesListed(shop, []); ClusterEvent.ServicesListed(shop, []) ]

            Expect.isFalse (isSynced denied) "nothing is known"
            Expect.isFalse (isSynced (denied @ listed.Tail)) "nor one kind alone"
            Expect.isTrue (isSynced (denied @ listed)) "the other one is"

            Expect.isFalse
                (isSynced [ ClusterEvent.ScopeDenied shop; ClusterEvent.ScopeDenied blog ])
                "none may be read: no route is known"

            let kept = after (listed @ [ ClusterEvent.ScopeDenied shop ])
            Expect.equal kept.Clones.Listed (set [ shop ]) "what was listed before stays"
        }

        property
            "any kind of object: what an event changes is what the store differs in after it"
            (fun (events: ObjectEvent<int> list) (event: ObjectEvent<int>) ->
                let before = (ObjectStore.empty, events) ||> List.fold ObjectStore.evolve
                let after = ObjectStore.evolve before event

                let differing =
                    Seq.append before.Objects.Keys after.Objects.Keys
                    |> Seq.distinct
                    |> Seq.filter (fun key -> before.Objects.TryFind key <> after.Objects.TryFind key)
                    |> Set.ofSeq

                Set.ofList (ObjectStore.changedBy before event) = differing
                && ObjectStore.evolve after event = after)
    ]
