module K8sReq.Proxy.Tests.LaneDirectoryTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private limits = { Concurrency = 1; QueueBytes = 10L }

let private events = {
    Overflowed = ignore
    Recovered = fun _ _ -> ()
}

/// A directory, and the hosts that it has given last.
[<Sealed>]
type private Published() =
    let lanes = LaneDirectory(Targets.lane limits events)
    let mutable hosts = HostMap<HostEntry>.Empty

    member _.Update(routes, changed) =
        let update = lanes.Update(routes, changed)
        hosts <- update.Hosts

        for lane in update.Gone do
            lane.Retire()

    member _.Find(host: string) : Lane[] =
        match hosts.TryFind host with
        | ValueSome entry -> entry.Lanes
        | ValueNone -> [||]

let private directory () = Published()

let private hostsOf (routes: HostMap<Target[]>) = routes.Ordered |> List.map fst

// Every host of a table and of the one before it may have changed.
let private update (lanes: Published) (table: RouteTable) =
    let hosts = hostsOf (Targets.table [ Targets.named "a" ]).Routes
    lanes.Update(table.Routes, Set.ofList (hosts @ hostsOf table.Routes))

let private isRetired (lane: Lane) =
    match lane.TryEnter 1L with
    | LaneEntry.Retired -> true
    | LaneEntry.Entered _
    | LaneEntry.Full -> false

let tests =
    testList "LaneDirectory" [
        test "a target that stays routed keeps its lane, with what is in it" {
            let lanes = directory ()
            update lanes (Targets.table [ Targets.named "a" ])
            let before = lanes.Find "a.example" |> Array.exactlyOne
            before.TryEnter 1L |> ignore
            update lanes (Targets.table [ Targets.named "a"; Targets.named "b" ])
            let now = lanes.Find "A.example:80"
            Expect.equal now.Length 2 "both"
            Expect.isTrue (obj.ReferenceEquals(now[0], before)) "the same lane"
            Expect.equal now[0].Load.Sending 1 "and its send"
        }

        test "the lane of a target that goes, or gets another address, is retired" {
            let lanes = directory ()
            update lanes (Targets.table [ Targets.at 1 "a"; Targets.at 1 "b" ])
            let before = lanes.Find "a.example"
            update lanes (Targets.table [ Targets.at 2 "a" ])
            let now = lanes.Find "a.example" |> Array.exactlyOne
            Expect.equal now.Target.Port 2 "a new one"
            Expect.isFalse (isRetired now) "which is open"
            Expect.isTrue (Array.forall isRetired before) "the others are not"
        }

        test "a RequestClone that moves to another host keeps its lane" {
            let lanes = directory ()

            let other =
                match HostName.parse "b.example" with
                | Ok host -> host
                | Error error -> failtest $"{error}"

            let before = Targets.table [ Targets.named "a"; Targets.named "b" ]
            let moved = { Targets.named "a" with Host = other }
            let now = Targets.table [ moved; Targets.named "b" ]
            let changed = Set.ofList (hostsOf before.Routes @ hostsOf now.Routes)
            lanes.Update(before.Routes, changed)
            let kept = lanes.Find "a.example"
            lanes.Update(now.Routes, changed)
            Expect.isTrue (obj.ReferenceEquals(lanes.Find("b.example")[0], kept[0])) "the one that moved"
            Expect.isTrue (obj.ReferenceEquals(lanes.Find("a.example")[0], kept[1])) "the one that stayed"
            Expect.isFalse (Array.exists isRetired kept) "both are open"
        }

        test "of many targets of one host that stay, none costs more than its place in the array" {
            let cost count =
                let all = [ for n in 0 .. count - 1 -> Targets.named $"copy{n:D5}" ]
                let lanes = directory ()
                let before = Targets.table all

                let now =
                    before.Routes.Ordered
                    |> List.map (fun (host, targets) -> host, Array.removeAt (count / 2) targets)
                    |> HostMap.ofSeq

                let changed = Set.ofList (hostsOf before.Routes)

                let update (routes: HostMap<Target[]>) =
                    let start = GC.GetAllocatedBytesForCurrentThread()
                    lanes.Update(routes, changed)
                    GC.GetAllocatedBytesForCurrentThread() - start

                lanes.Update(before.Routes, changed)
                update now |> ignore
                lanes.Update(before.Routes, changed)
                update now

            let more = cost 5000 - cost 1000
            Expect.isLessThan (float more / 4000.0) 16.0 "bytes for each further target"
        }

        test "a host without targets has no lanes" {
            let lanes = directory ()
            Expect.isEmpty (lanes.Find "a.example") "before any table"
            update lanes (Targets.table [ Targets.named "a" ])
            Expect.isEmpty (lanes.Find "b.example") "and with one"
        }
    ]
