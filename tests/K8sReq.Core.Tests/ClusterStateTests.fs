module K8sReq.Core.Tests.ClusterStateTests

open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private after events =
    ClusterState.fold ClusterState.initial events

let private scopesOf event =
    match event with
    | ClusterEvent.CloneApplied clone -> Choice1Of2 clone.Key
    | ClusterEvent.CloneDeleted key
    | ClusterEvent.ServiceDeleted key -> Choice1Of2 key
    | ClusterEvent.ServiceApplied service -> Choice1Of2 service.Key
    | ClusterEvent.ClonesListed(scope, _)
    | ClusterEvent.ServicesListed(scope, _)
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
                    | ClusterEvent.ClonesListed(WatchScope.AllNamespaces, _)
                    | ClusterEvent.ServicesListed(WatchScope.AllNamespaces, _) -> true
                    | _ -> false

                let listings =
                    [
                        ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [])
                        ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [])
                    ]
                    @ List.filter isListing now

                let remembered = after (past @ listings)
                let fresh = after listings
                remembered.Clones = fresh.Clones && remembered.Services = fresh.Services)

        property "a relist of a namespace leaves the others alone" (fun (past: ClusterEvent list) ->
            let before = after past

            let emptied =
                ClusterState.evolve before (ClusterEvent.ClonesListed(WatchScope.Namespace "shop", []))

            emptied.Clones = (before.Clones |> Map.filter (fun key _ -> key.Namespace <> "shop"))
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
            Expect.equal kept.ListedClones (set [ shop ]) "what was listed before stays"
        }
    ]
