module K8sReq.Host.Tests.FanOutTests

open System.Buffers
open System.Collections.Concurrent
open System.Net
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Host.Proxy

let private target name : Target =
    match HostName.parse "a.example" with
    | Ok host -> {
        Clone = ObjectKey.create "shop" name
        Host = host
        Service = ObjectKey.create "shop" name
        Address = IPAddress.Loopback
        Port = 1
      }
    | Error error -> failwith $"{error}"

let private request = {
    Method = "POST"
    Target = "/"
    Host = "a.example"
    Headers = [||]
    Body = ValueSome(ReadOnlySequence "abc"B)
}

/// Runs a fan-out over targets of these names: outcomes by name, and how often the memory was given back.
let private run (client: TargetClient) names = task {
    let outcomes = ConcurrentDictionary<string, TargetOutcome>()
    let mutable releases = 0

    do!
        FanOut.run
            client
            (fun target outcome ->
                Expect.equal releases 0 "released after the last report"
                Expect.isTrue (outcomes.TryAdd(target.Clone.Name, outcome)) "reported once")
            (fun () -> releases <- releases + 1)
            (names |> List.map target |> List.toArray)
            request
            CancellationToken.None
        |> Async.StartAsTask

    return outcomes, releases
}

let tests =
    testList "FanOut" [
        testCaseTask "every target gets the request and has its outcome; the memory is given back once"
        <| fun () -> task {
            let! outcomes, releases =
                run (fun target _ _ -> async { return TargetOutcome.Delivered target.Clone.Name.Length }) [
                    "a"
                    "bb"
                    "ccc"
                ]

            Expect.equal outcomes["bb"] (TargetOutcome.Delivered 2) "its own"
            Expect.equal (outcomes.Count, releases) (3, 1) "all, once"
        }

        testCaseTask "a send that throws, at once or later, touches no sibling"
        <| fun () -> task {
            let client: TargetClient =
                fun target _ _ ->
                    match target.Clone.Name with
                    | "throws" -> failwith "at once"
                    | "faults" -> async {
                        do! Async.Sleep 1
                        return failwith "later"
                      }
                    | _ -> async {
                        do! Async.Sleep 20
                        return TargetOutcome.Delivered 200
                      }

            let! outcomes, releases = run client [ "throws"; "good"; "faults" ]
            Expect.equal outcomes["throws"] (TargetOutcome.Faulted "at once") "its outcome says so"
            Expect.equal outcomes["faults"] (TargetOutcome.Faulted "later") "its outcome says so"
            Expect.equal outcomes["good"] (TargetOutcome.Delivered 200) "not cancelled"
            Expect.equal releases 1 "once"
        }

        testCaseTask "sends are under way at the same time"
        <| fun () -> task {
            // Each waits for the other: one after the other would never end.
            let here, there = TaskCompletionSource(), TaskCompletionSource()

            let client: TargetClient =
                fun target _ _ -> async {
                    let mine, other = if target.Clone.Name = "a" then here, there else there, here
                    mine.SetResult()
                    do! other.Task |> Async.AwaitTask
                    return TargetOutcome.Delivered 200
                }

            let! outcomes, _ = run client [ "a"; "b" ] |> Waiting.within "both sends"
            Expect.equal outcomes.Count 2 "both"
        }
    ]
