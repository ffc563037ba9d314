module K8sReq.Core.Tests.LifecycleTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private delay = TimeSpan.FromSeconds 5.0

let private run (signals: LifecycleSignal list) =
    ((Lifecycle.initial, []), signals)
    ||> List.fold (fun (state, actions) signal ->
        let next, action = Lifecycle.step delay state signal
        next, action :: actions)
    |> fun (state, actions) -> state, List.rev actions |> List.filter ((<>) LifecycleAction.Nothing)

let private bound = [ LifecycleSignal.Launched; LifecycleSignal.PortsBound ]

let private serving = bound @ [ LifecycleSignal.RoutesKnown ]

let private close = [ LifecycleSignal.ListenerClosed; LifecycleSignal.CopiesFinished ]

let private signals = [
    LifecycleSignal.Launched
    LifecycleSignal.PortsBound
    LifecycleSignal.StartFailed 2
    LifecycleSignal.RoutesKnown
    LifecycleSignal.StopRequested
    LifecycleSignal.PartFailed
    LifecycleSignal.DelayEnded
    LifecycleSignal.ListenerClosed
    LifecycleSignal.CopiesFinished
    LifecycleSignal.TimedOut
]

let private expect name given actions exitCode = test name {
    let state, done' = run given
    Expect.equal done' actions "what is done"
    Expect.equal state.Phase LifecyclePhase.Stopped "it has ended"
    Expect.equal state.ExitCode exitCode "the exit code"
}

let tests =
    testList "Lifecycle" [
        expect
            "it serves, and stops as asked"
            (serving @ [ LifecycleSignal.StopRequested; LifecycleSignal.DelayEnded ] @ close)
            [
                LifecycleAction.Start
                LifecycleAction.Follow
                LifecycleAction.Leave delay
                LifecycleAction.Close
                LifecycleAction.Drain
                LifecycleAction.Release
            ]
            0

        expect
            "told to stop before the routes are known, it has nobody to wait for"
            (bound @ [ LifecycleSignal.StopRequested ] @ close)
            [
                LifecycleAction.Start
                LifecycleAction.Follow
                LifecycleAction.Close
                LifecycleAction.Drain
                LifecycleAction.Release
            ]
            0

        for exitCode in [ 1; 2 ] do
            expect
                $"it cannot start: exit code {exitCode}"
                [ LifecycleSignal.Launched; LifecycleSignal.StartFailed exitCode ]
                [ LifecycleAction.Start; LifecycleAction.Release ]
                exitCode

        expect "told to stop before it starts" [ LifecycleSignal.StopRequested ] [ LifecycleAction.Release ] 0

        expect
            "told to stop while it starts, it does not wait for a start that hangs"
            [ LifecycleSignal.Launched; LifecycleSignal.StopRequested ]
            [ LifecycleAction.Start; LifecycleAction.Release ]
            0

        expect
            "ports that are bound after that are given back"
            [
                LifecycleSignal.Launched
                LifecycleSignal.StopRequested
                LifecycleSignal.PortsBound
            ]
            [ LifecycleAction.Start; LifecycleAction.Release; LifecycleAction.Release ]
            0

        expect
            "a source that fails ends it, with its copies finished"
            (serving @ [ LifecycleSignal.PartFailed; LifecycleSignal.DelayEnded ] @ close)
            [
                LifecycleAction.Start
                LifecycleAction.Follow
                LifecycleAction.Leave delay
                LifecycleAction.Close
                LifecycleAction.Drain
                LifecycleAction.Release
            ]
            1

        expect
            "a source that fails before the routes are known"
            (bound @ [ LifecycleSignal.PartFailed ] @ close)
            [
                LifecycleAction.Start
                LifecycleAction.Follow
                LifecycleAction.Close
                LifecycleAction.Drain
                LifecycleAction.Release
            ]
            1

        for last in [ LifecycleSignal.CopiesFinished; LifecycleSignal.TimedOut ] do
            expect
                $"copies that do not end in time are cut off ({last})"
                (serving
                 @ [
                     LifecycleSignal.StopRequested
                     LifecycleSignal.DelayEnded
                     LifecycleSignal.ListenerClosed
                     LifecycleSignal.TimedOut
                     last
                 ])
                [
                    LifecycleAction.Start
                    LifecycleAction.Follow
                    LifecycleAction.Leave delay
                    LifecycleAction.Close
                    LifecycleAction.Drain
                    LifecycleAction.Abandon
                    LifecycleAction.Release
                ]
                0

        test "without a delay it closes at once" {
            let state, _ = run serving
            let _, action = Lifecycle.step TimeSpan.Zero state LifecycleSignal.StopRequested
            Expect.equal action LifecycleAction.Close "nothing to wait for"
        }

        property
            "whatever comes, everything is released, and nothing but late ports after that"
            (Prop.forAll (Gen.listOf (Gen.elements signals) |> Arb.fromGen) (fun signals ->
                let state, actions = run signals
                let ended = actions |> List.skipWhile ((<>) LifecycleAction.Release)

                let late =
                    // Each of them comes with ports to give back.
                    signals |> List.filter ((=) LifecycleSignal.PortsBound) |> List.length

                (state.Phase = LifecyclePhase.Stopped) = not ended.IsEmpty
                && ended |> List.forall ((=) LifecycleAction.Release)
                && ended.Length <= 1 + late))
    ]
