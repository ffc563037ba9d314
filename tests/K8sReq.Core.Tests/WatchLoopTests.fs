module K8sReq.Core.Tests.WatchLoopTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

type private Signal = WatchSignal<string>
type private Action = WatchAction<string>

let private refused = WatchFault.Unreachable "refused"
let private seconds (count: float) = TimeSpan.FromSeconds count

/// Steps through these signals, with the full jitter, at a time that stands still; gives the state and each step's
/// actions.
let private runFrom state now (signals: Signal list) =
    signals
    |> List.fold
        (fun (state, steps) signal ->
            let next, actions = WatchLoop.step 1.0 now state signal
            next, actions :: steps)
        (state, [])
    |> fun (state, steps) -> state, List.rev steps

let private run signals =
    snd (runFrom WatchLoop.initial TimeSpan.Zero signals)

let private last signals = List.last (run signals)

let private listed: Signal list = [ WatchSignal.Started; WatchSignal.Page([ "a"; "b" ], "10", None) ]

let private failures count : Signal list =
    List.replicate count [ WatchSignal.Ended(WatchEnd.Failed refused); WatchSignal.Rested ]
    |> List.concat

let private rests (steps: Action list list) =
    List.concat steps
    |> List.choose (fun action ->
        match action with
        | WatchAction.Rest time -> Some time
        | _ -> None)

let tests =
    testList "WatchLoop" [
        test "it begins with a list from nothing" {
            Expect.equal (run [ WatchSignal.Started ]) [ [ WatchAction.List None ] ] "a list"
        }

        test "the pages of a list become one complete set, and the watch goes on from the list's version" {
            Expect.equal
                (run [
                    WatchSignal.Started
                    WatchSignal.Page([ "a"; "b" ], "10", Some "next")
                    WatchSignal.Page([ "c" ], "10", Some "last")
                    WatchSignal.Page([ "d" ], "10", None)
                ])
                [
                    [ WatchAction.List None ]
                    [ WatchAction.List(Some "next") ]
                    [ WatchAction.List(Some "last") ]
                    [ WatchAction.EmitListed [ "a"; "b"; "c"; "d" ]; WatchAction.Watch "10" ]
                ]
                "in their order"
        }

        test "an empty list is a complete set" {
            Expect.equal
                (last [ WatchSignal.Started; WatchSignal.Page([], "1", None) ])
                [ WatchAction.EmitListed []; WatchAction.Watch "1" ]
                "known to be empty"
        }

        test "a page that has expired begins the list again, and nothing of the first one is kept" {
            let steps =
                run [
                    WatchSignal.Started
                    WatchSignal.Page([ "old" ], "10", Some "next")
                    WatchSignal.Ended WatchEnd.Expired
                    WatchSignal.Rested
                    WatchSignal.Page([ "new" ], "20", None)
                ]

            Expect.equal steps[3] [ WatchAction.List None ] "from the first page"

            Expect.equal
                steps[4]
                [ WatchAction.EmitListed [ "new" ]; WatchAction.Watch "20" ]
                "the new set alone"
        }

        test "events are handed on, and the watch goes on from the last version that was seen" {
            let steps =
                run (
                    listed
                    @ [
                        WatchSignal.Applied("c", "11")
                        WatchSignal.Deleted(ObjectKey.create "n" "a", "12")
                        WatchSignal.Bookmark "15"
                        WatchSignal.Ended WatchEnd.Closed
                        WatchSignal.Rested
                    ]
                )

            Expect.equal
                steps[2..4]
                [
                    [ WatchAction.EmitApplied "c" ]
                    [ WatchAction.EmitDeleted(ObjectKey.create "n" "a") ]
                    []
                ]
                "events"

            Expect.equal (List.last steps) [ WatchAction.Watch "15" ] "from the bookmark"
        }

        test
            "a kind that the server does not know for a minute is gone, with all of its objects, and that is told once" {
            let unknown: Signal =
                WatchSignal.Ended(WatchEnd.Failed(WatchFault.UnknownKind "not found"))

            let known, _ = runFrom WatchLoop.initial (seconds 1.0) listed

            // At each time: the list or watch fails, and after the pause it is tried again.
            let emitted state times failure =
                ((state, []), times)
                ||> List.fold (fun (state, emitted) time ->
                    let next, steps = runFrom state (seconds time) [ failure; WatchSignal.Rested ]

                    let lists =
                        List.concat steps
                        |> List.choose (fun action ->
                            match action with
                            | WatchAction.EmitListed items -> Some(time, items)
                            | _ -> None)

                    next, emitted @ lists)

            let times = [ 10.0; 30.0; 69.0; 70.0; 90.0; 200.0 ]
            let _, lists = emitted known times unknown
            Expect.equal lists [ 70.0, [] ] "after a minute, once"
            let _, never = emitted WatchLoop.initial times unknown
            Expect.equal never [] "of what was never listed nothing is told"

            let _, unreachable =
                emitted known times (WatchSignal.Ended(WatchEnd.Failed refused))

            Expect.equal unreachable [] "nor when the server is away"
            let early, _ = emitted known [ 10.0; 40.0 ] unknown

            let interrupted, _ =
                emitted early [ 50.0 ] (WatchSignal.Ended(WatchEnd.Failed refused))

            let _, late = emitted interrupted [ 75.0; 100.0 ] unknown
            Expect.equal late [] "the minute is one without a break"
        }

        test "a bookmark without a version says nothing" {
            Expect.equal
                (last (
                    listed
                    @ [
                        WatchSignal.Bookmark ""
                        WatchSignal.Ended WatchEnd.Closed
                        WatchSignal.Rested
                    ]
                ))
                [ WatchAction.Watch "10" ]
                "from the list"
        }

        test "a watch that is closed or falls silent is taken up again after less than a second" {
            for reason in [ WatchEnd.Closed; WatchEnd.Idle ] do
                let steps = run (listed @ [ WatchSignal.Ended reason; WatchSignal.Rested ])
                Expect.isLessThan (rests steps |> List.exactlyOne) (seconds 1.0) "soon"
                Expect.equal (List.last steps) [ WatchAction.Watch "10" ] "where it was"
        }

        test "an expired version leads to a list; when that happens again and again the waits grow" {
            let expiries =
                List.replicate 8 [
                    WatchSignal.Ended WatchEnd.Expired
                    WatchSignal.Rested
                    WatchSignal.Page([ "a" ], "20", None)
                ]
                |> List.concat

            let steps = run (listed @ expiries)
            Expect.equal steps[3] [ WatchAction.List None ] "a list"

            Expect.equal
                (rests steps)
                ([ 0.5; 2.0; 4.0; 8.0; 16.0; 30.0; 30.0; 30.0 ] |> List.map seconds)
                "the waits"

            let afterProgress =
                run (
                    listed
                    @ expiries
                    @ [ WatchSignal.Bookmark "21"; WatchSignal.Ended WatchEnd.Expired ]
                )

            Expect.equal (List.last (rests afterProgress)) (seconds 0.5) "a watch that works ends that"
        }

        test "failures are waited for longer and longer, and after some of them everything is listed" {
            let steps = run (listed @ failures 7)

            Expect.equal
                (rests steps)
                ([ 1.0; 2.0; 4.0; 8.0; 16.0; 30.0; 30.0 ] |> List.map seconds)
                "the waits"

            let retries =
                steps |> List.indexed |> List.filter (fun (n, _) -> n >= 3 && n % 2 = 1)

            Expect.equal
                (retries |> List.map snd)
                [
                    [ WatchAction.Watch "10" ]
                    [ WatchAction.Watch "10" ]
                    [ WatchAction.Watch "10" ]
                    [ WatchAction.Watch "10" ]
                    [ WatchAction.List None ]
                    [ WatchAction.List None ]
                    [ WatchAction.List None ]
                ]
                "and the list is tried until it succeeds"
        }

        test "a failure is told of once, and its end is told of" {
            let steps =
                run (listed @ failures 3 @ [ WatchSignal.Applied("c", "11") ]) |> List.concat

            Expect.equal
                (steps |> List.filter (fun action -> action = WatchAction.Tell refused))
                [ WatchAction.Tell refused ]
                "once"

            Expect.equal
                (List.skip (steps.Length - 2) steps)
                [ WatchAction.TellRecovered; WatchAction.EmitApplied "c" ]
                "its end"
        }

        test "another failure is told of although the first one goes on" {
            let forbidden = WatchFault.Forbidden "no"

            let steps =
                run (
                    [ WatchSignal.Started ]
                    @ failures 2
                    @ [ WatchSignal.Ended(WatchEnd.Failed forbidden) ]
                )

            Expect.equal
                (List.concat steps
                 |> List.filter (fun action ->
                     match action with
                     | WatchAction.Tell _ -> true
                     | _ -> false))
                [ WatchAction.Tell refused; WatchAction.Tell forbidden ]
                "each once"
        }

        test
            "credentials that are not accepted and a server that is not trusted: both are read again, each time" {
            for fault in [ WatchFault.Unauthorized "expired"; WatchFault.Untrusted "replaced" ] do
                let ended = WatchSignal.Ended(WatchEnd.Failed fault)

                for signals in [ [ WatchSignal.Started ]; listed ] do
                    let steps = run (signals @ [ ended; WatchSignal.Rested; ended ])

                    Expect.equal
                        (List.concat steps |> List.filter ((=) WatchAction.Renew) |> List.length)
                        2
                        "read again"

                    Expect.equal
                        (List.concat steps |> List.filter ((=) (WatchAction.Tell fault)) |> List.length)
                        1
                        "told once"
        }

        test "a list that fails begins with its first page" {
            let steps =
                run [
                    WatchSignal.Started
                    WatchSignal.Page([ "a" ], "10", Some "next")
                    WatchSignal.Ended(WatchEnd.Failed refused)
                    WatchSignal.Rested
                ]

            Expect.equal (List.last steps) [ WatchAction.List None ] "the first page"
        }

        test "a server that asks to be left alone is left alone for as long, within a bound" {
            let waitAfter wanted =
                run (listed @ [ WatchSignal.Ended(WatchEnd.Throttled wanted) ])
                |> rests
                |> List.exactlyOne

            Expect.equal (waitAfter (Some(seconds 20.0))) (seconds 20.0) "as it says"
            Expect.equal (waitAfter (Some(seconds 0.0))) (seconds 1.0) "but not at once"
            Expect.equal (waitAfter None) (seconds 1.0) "nor where it does not say"
            Expect.equal (waitAfter (Some(seconds 86400.0))) (seconds 60.0) "nor for ever"
        }

        test "the end of a watch leads to a list when the last one was long ago" {
            let state, _ = runFrom WatchLoop.initial TimeSpan.Zero listed

            let _, steps =
                runFrom state WatchLoop.relistInterval [
                    WatchSignal.Ended WatchEnd.Closed
                    WatchSignal.Rested
                ]

            Expect.equal (List.last steps) [ WatchAction.List None ] "a list"
        }

        property
            "whatever comes: at most one thing that takes time is asked for, and it goes on"
            (fun (choices: int list) ->
                let signals: Signal list = [
                    WatchSignal.Started
                    WatchSignal.Rested
                    WatchSignal.Page([ "a" ], "1", None)
                    WatchSignal.Page([ "a" ], "1", Some "n")
                    WatchSignal.Applied("a", "2")
                    WatchSignal.Deleted(ObjectKey.create "n" "a", "3")
                    WatchSignal.Bookmark "4"
                    WatchSignal.Ended WatchEnd.Closed
                    WatchSignal.Ended WatchEnd.Idle
                    WatchSignal.Ended WatchEnd.Expired
                    WatchSignal.Ended(WatchEnd.Throttled None)
                    WatchSignal.Ended(WatchEnd.Failed refused)
                ]

                let isLong (action: Action) =
                    match action with
                    | WatchAction.List _
                    | WatchAction.Watch _
                    | WatchAction.Rest _ -> true
                    | _ -> false

                let _, steps =
                    choices
                    |> List.map (fun choice -> signals[abs (choice % signals.Length)])
                    |> runFrom WatchLoop.initial TimeSpan.Zero

                steps
                |> List.forall (fun actions ->
                    let long = actions |> List.filter isLong
                    // What takes time comes last: nothing is to wait behind it.
                    long.Length <= 1 && (long.IsEmpty || isLong (List.last actions))))
    ]
