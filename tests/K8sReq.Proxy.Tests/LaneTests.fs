module K8sReq.Proxy.Tests.LaneTests

open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

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

        testCaseTask
            "copies that have waited, in queues or for a retry, are sent in turns of their namespaces"
        <| fun () -> task {
            let turns = Turns 1
            let limits = { Concurrency = 1; QueueBytes = 100L }

            let events = {
                Overflowed = ignore
                Recovered = fun _ _ -> ()
            }

            let laneOf ns name =
                Targets.laneIn turns limits events {
                    Targets.named name with
                        Clone = ObjectKey.create ns name
                }

            let order = ConcurrentQueue<string>()

            // Whose turn it is, at the moment at which it has it.
            let follow (name: string) (turn: Task<bool>) =
                turn.GetAwaiter().UnsafeOnCompleted(fun () -> order.Enqueue name)

            let busy = [ for n in 1..20 -> laneOf "busy" $"b{n}" ]
            let quiet = [ laneOf "quiet" "queued"; laneOf "quiet" "retried" ]

            for lane in busy @ quiet do
                enter lane 1L |> ignore

            // Nobody has a turn before all of them wait for one.
            use isHeld = new System.Threading.ManualResetEventSlim(false)
            use isFree = new System.Threading.ManualResetEventSlim(false)

            let holding =
                Task.Run(fun () ->
                    turns.Add(
                        "somebody",
                        fun () ->
                            isHeld.Set()
                            isFree.Wait()
                    ))

            isHeld.Wait()

            for lane in busy @ quiet[..0] do
                enter lane 1L |> follow lane.Target.Clone.Name
                lane.Leave 1L

            Expect.isTrue (quiet[1].TryPark 1L) "a retry"

            match quiet[1].Unpark 1L with
            | LaneEntry.Entered turn -> follow "retried" turn
            | entry -> failtest $"{entry}"

            isFree.Set()
            do! holding
            do! Waiting.until "all turns" (fun () -> task { return order.Count = 22 })

            Expect.equal
                (order |> Seq.take 4 |> List.ofSeq)
                [ "b1"; "queued"; "b2"; "retried" ]
                "one of each namespace after the other, however many lanes it has"
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
            Expect.equal lane.Load.Queued 0 "queue empty"
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
