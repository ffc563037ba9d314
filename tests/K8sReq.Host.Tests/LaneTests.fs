module K8sReq.Host.Tests.LaneTests

open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Host.Proxy

/// A lane, and what it has told of itself.
let private laneOf concurrency queueBytes =
    let told = ConcurrentQueue<string>()

    let events = {
        Overflowed = fun target -> told.Enqueue $"{target.Clone.Name} overflowed"
        Recovered = fun target count -> told.Enqueue $"{target.Clone.Name} recovered after {count}"
    }

    let limits = {
        Concurrency = concurrency
        QueueBytes = queueBytes
    }

    Targets.lane limits events (Targets.named "a"), told

let private enter (lane: Lane) bytes =
    match lane.TryEnter bytes with
    | LaneEntry.Entered turn -> turn
    | entry -> failwith $"{entry}"

let private isFull entry =
    match entry with
    | LaneEntry.Full -> true
    | LaneEntry.Entered _
    | LaneEntry.Retired -> false

let tests =
    testList "Lane" [
        testCaseTask "so many are sent at once; the others wait and follow in their order"
        <| fun () -> task {
            let lane, _ = laneOf 2 100L
            let turns = [ for _ in 1..4 -> enter lane 10L ]
            Expect.equal (turns |> List.map _.IsCompleted) [ true; true; false; false ] "two"
            lane.Leave 10L
            let! third = turns[2] |> Waiting.within "the third's turn"
            Expect.isTrue third "it may be sent"
            Expect.isFalse turns[3].IsCompleted "the fourth still waits"
            lane.Leave 10L
            let! fourth = turns[3] |> Waiting.within "the fourth's turn"
            Expect.isTrue fourth "it may be sent"
            lane.Leave 10L
            lane.Leave 10L
            Expect.equal lane.Load LaneLoad.empty "nothing is left"
        }

        test "what does not fit into the queue is refused, which is told once until half of it is free again" {
            let lane, told = laneOf 1 30L
            enter lane 1000L |> ignore

            for _ in 1..3 do
                enter lane 10L |> ignore

            for _ in 1..5 do
                Expect.isTrue (isFull (lane.TryEnter 1L)) "no room"

            Expect.equal (List.ofSeq told) [ "a overflowed" ] "told once"
            lane.Leave 1000L
            Expect.isFalse (isFull (lane.TryEnter 10L)) "room for one"
            Expect.isTrue (isFull (lane.TryEnter 1L)) "and no more"
            Expect.equal told.Count 1 "that is no recovery"
            lane.Leave 10L
            lane.Leave 10L

            Expect.equal
                (List.ofSeq told)
                [ "a overflowed"; "a recovered after 6" ]
                "told once, with the number"
        }

        testCaseTask "a lane that is retired gives up what waits, and lets in nothing more"
        <| fun () -> task {
            let lane, _ = laneOf 1 100L
            let sending = enter lane 10L
            let waiting = enter lane 10L
            lane.Retire()
            let! mayGo = waiting |> Waiting.within "the end of the wait"
            Expect.isFalse mayGo "given up"
            Expect.equal lane.Load.Queued 0 "none waits"
            Expect.isTrue sending.Result "what is being sent goes on"
            lane.Leave 10L
            Expect.equal lane.Load LaneLoad.empty "to its end"

            match lane.TryEnter 1L with
            | LaneEntry.Retired -> ()
            | entry -> failtest $"{entry}"
        }

        testCaseTask "from many threads at once never more are sent than may be, and every copy has its turn"
        <| fun () -> task {
            let lane, _ = laneOf 3 1_000_000L
            let mutable sending = 0
            let mutable most = 0
            let gate = obj ()

            let change by =
                lock gate (fun () ->
                    sending <- sending + by
                    most <- max most sending)

            let one () = task {
                let! mayGo = enter lane 1L
                Expect.isTrue mayGo "its turn"
                change 1
                do! Task.Yield()
                change -1
                lane.Leave 1L
            }

            let! _ =
                Task.WhenAll [ for _ in 1..2000 -> Task.Run<unit>(fun () -> one ()) ]
                |> Waiting.within "all turns"

            Expect.isLessThanOrEqual most 3 "at once"
            Expect.equal lane.Load LaneLoad.empty "nothing is left"
        }
    ]
