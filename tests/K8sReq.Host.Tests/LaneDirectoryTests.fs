module K8sReq.Host.Tests.LaneDirectoryTests

open Expecto
open K8sReq.Core
open K8sReq.Host.Proxy

let private limits = { Concurrency = 1; QueueBytes = 10L }

let private events = {
    Overflowed = ignore
    Recovered = fun _ _ -> ()
}

let private directory () =
    LaneDirectory(Targets.lane limits events)

// Every host of a table and of the one before it may have changed.
let private update (lanes: LaneDirectory) (table: RouteTable) =
    let hosts = Targets.table [ Targets.named "a" ] |> _.Routes.Keys
    lanes.Update(table.Routes, Set.ofSeq (Seq.append hosts table.Routes.Keys))

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

        test "a host without targets has no lanes" {
            let lanes = directory ()
            Expect.isEmpty (lanes.Find "a.example") "before any table"
            update lanes (Targets.table [ Targets.named "a" ])
            Expect.isEmpty (lanes.Find "b.example") "and with one"
        }
    ]
