module K8sReq.Core.Tests.RouteHealthTests

open System
open Expecto
open K8sReq.Core

let private window (delivered: int) (failed: int) (dropped: int) : CopyWindow = {
    Delivered = delivered
    Failed = failed
    Dropped = dropped
}

let private nothing = CopyWindow.empty

let private quiet: RouteActivity = {
    IsRouted = true
    Loss = RouteLoss.None
    LastMinute = nothing
    LastTenMinutes = nothing
    Sending = 0
    Waiting = 0L
    OldestWait = TimeSpan.Zero
    Median = None
}

let private busy = {
    quiet with
        LastMinute = window 60 0 0
        LastTenMinutes = window 600 0 0
        Median = Some(TimeSpan.FromMilliseconds 20.0)
}

let private judge = RouteLoss.judge RouteLoss.None

let private expectState (expected: RouteState) (activity: RouteActivity) (why: string) =
    Expect.equal (RouteState.ofActivity activity) expected why

let tests =
    testList "RouteHealth" [
        test "a route loses copies from one in a hundred on, of those of the last minute" {
            Expect.equal (judge (window 100 0 0) (window 100 500 0)) RouteLoss.None "what was before is over"
            Expect.equal (judge (window 199 1 0) nothing) RouteLoss.None "one in two hundred"
            Expect.equal (judge (window 99 1 0) nothing) RouteLoss.Failing "one in a hundred"
            Expect.equal (judge (window 90 4 6) nothing) RouteLoss.Dropping "more dropped than failed"
            Expect.equal (judge (window 90 5 5) nothing) RouteLoss.Failing "as many"
        }

        test "of the last ten minutes, if no copy finished in the last one" {
            Expect.equal (judge nothing (window 1 1 0)) RouteLoss.Failing "failing"
            Expect.equal (judge nothing (window 1 0 0)) RouteLoss.None "not failing"
        }

        test "if none finished in those either, it stays as it was" {
            for before in [ RouteLoss.None; RouteLoss.Failing; RouteLoss.Dropping ] do
                Expect.equal (RouteLoss.judge before nothing nothing) before $"{before}"
        }

        test "copies of the last ten minutes that were delivered make it delivering, none make it idle" {
            expectState RouteState.Delivering busy "busy"
            expectState RouteState.Idle quiet "quiet"

            expectState
                RouteState.Delivering
                {
                    quiet with
                        LastTenMinutes = window 1 0 0
                }
                "one in ten minutes"

            expectState RouteState.Delivering { quiet with Sending = 1 } "the first is being sent"
        }

        test "what waits while nothing is delivered makes it waiting, also if it takes long" {
            expectState RouteState.Waiting { quiet with Waiting = 1L } "one"

            expectState
                RouteState.Waiting
                {
                    busy with
                        LastMinute = nothing
                        Waiting = 1L
                        OldestWait = TimeSpan.FromHours 1.0
                }
                "none in the last minute"

            expectState RouteState.Delivering { busy with Waiting = 100L } "others are delivered"
        }

        test "from two seconds for half of the deliveries on, or five for the first that waits, it is slow" {
            let taking (seconds: float) = {
                busy with
                    Median = Some(TimeSpan.FromSeconds seconds)
            }

            let waiting (seconds: float) = {
                busy with
                    Waiting = 1L
                    OldestWait = TimeSpan.FromSeconds seconds
            }

            expectState RouteState.Delivering (taking 1.99) "not quite two"
            expectState RouteState.Slow (taking 2.0) "two"
            expectState RouteState.Delivering (waiting 4.99) "not quite five"
            expectState RouteState.Slow (waiting 5.0) "five"
        }

        test "losing copies comes before waiting and slow, and not being routed before all" {
            let slow = {
                busy with
                    Waiting = 5L
                    OldestWait = TimeSpan.FromHours 1.0
            }

            expectState RouteState.Failing { slow with Loss = RouteLoss.Failing } "failing"
            expectState RouteState.Dropping { slow with Loss = RouteLoss.Dropping } "dropping"

            expectState
                RouteState.NotRouted
                {
                    slow with
                        Loss = RouteLoss.Failing
                        IsRouted = false
                }
                "not routed"
        }

        test "states have the order that they are listed in, the troubles first, and names of their own" {
            Expect.equal (RouteState.all |> List.map RouteState.rank) [ 0..6 ] "ranks"

            Expect.equal
                (RouteState.all |> List.map RouteState.isTrouble)
                [ true; true; true; true; true; false; false ]
                "troubles"

            Expect.equal
                (RouteState.all |> List.map RouteState.name |> List.distinct |> List.length)
                7
                "names"
        }
    ]
