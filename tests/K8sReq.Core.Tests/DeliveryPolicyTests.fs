module K8sReq.Core.Tests.DeliveryPolicyTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private ms (milliseconds: float) = TimeSpan.FromMilliseconds milliseconds

let private policy retries backoff = {
    Retries = retries
    Backoff = backoff
    Delay = ms 100.0
    Longest = ms 1000.0
    LongestAsked = None
}

let private failure = TargetOutcome.ConnectFailed "refused"

let private cases =
    Gen.zip3
        (Gen.elements [ BackoffPolicy.Linear; BackoffPolicy.Exponential ])
        (Gen.choose (1, 200))
        (Gen.choose (0, 1000) |> Gen.map (fun n -> float n / 1000.0))
    |> Arb.fromGen

let tests =
    testList "DeliveryPolicy" [
        test "the time between attempts grows, and not beyond its end" {
            let ceilings backoff = [
                for retry in 1..6 -> (RetryDecision.ceiling (policy 9 backoff) retry).TotalMilliseconds
            ]

            Expect.equal (ceilings BackoffPolicy.Linear) [ 100.0; 200.0; 300.0; 400.0; 500.0; 600.0 ] "linear"

            Expect.equal
                (ceilings BackoffPolicy.Exponential)
                [ 100.0; 200.0; 400.0; 800.0; 1000.0; 1000.0 ]
                "exponential"
        }

        test
            "a target's Retry-After counts up to the most that it may ask for, and not at all where that is 0s" {
            let waitFor longestAsked =
                RetryDecision.next
                    {
                        policy 9 BackoffPolicy.Linear with
                            LongestAsked = longestAsked
                    }
                    1
                    1.0
                    (ValueSome(TimeSpan.FromMinutes 5.0))
                    (TargetOutcome.Rejected 503)

            Expect.equal (waitFor None) (Some(ms 1000.0)) "as long as any wait"
            Expect.equal (waitFor (Some(TimeSpan.FromMinutes 2.0))) (Some(TimeSpan.FromMinutes 2.0)) "more"

            Expect.equal
                (waitFor (Some(TimeSpan.FromHours 1.0)))
                (Some(TimeSpan.FromMinutes 5.0))
                "what it asks for"

            Expect.equal (waitFor (Some TimeSpan.Zero)) (Some(ms 100.0)) "its own growth alone"
        }

        test "what may succeed later is retried, and nothing else" {
            let retried = [
                failure
                TargetOutcome.SendFailed "reset"
                TargetOutcome.TimedOut TimeoutPhase.Sending
                TargetOutcome.TimedOut TimeoutPhase.Answering
                yield!
                    [ 404; 408; 409; 429; 500; 502; 503; 504; 599 ]
                    |> List.map TargetOutcome.Rejected
            ]

            let ended = [
                TargetOutcome.Delivered 200
                TargetOutcome.BadAnswer "garbage"
                TargetOutcome.Overflowed
                TargetOutcome.Cancelled
                TargetOutcome.Expired None
                TargetOutcome.Poisonous
                TargetOutcome.Faulted "bug"
                yield!
                    [ 301; 307; 400; 401; 403; 405; 410; 413; 422; 600 ]
                    |> List.map TargetOutcome.Rejected
            ]

            Expect.equal (retried |> List.filter (RetryDecision.isRetried >> not)) [] "all retried"
            Expect.equal (ended |> List.filter RetryDecision.isRetried) [] "none retried"
        }

        test "so many attempts after the first, and none without asking for them" {
            let next retries made =
                RetryDecision.next (policy retries BackoffPolicy.Linear) made 1.0 ValueNone failure

            Expect.equal [ for made in 1..4 -> (next 2 made).IsSome ] [ true; true; false; false ] "two"
            Expect.isNone (RetryDecision.next DeliveryPolicy.byDefault.Retry 1 1.0 ValueNone failure) "none"

            Expect.isNone
                (RetryDecision.next
                    (policy 2 BackoffPolicy.Linear)
                    1
                    1.0
                    ValueNone
                    (TargetOutcome.Delivered 200))
                "delivered"
        }

        test "what the target asks for counts, up to the longest time" {
            let next wanted =
                RetryDecision.next
                    (policy 2 BackoffPolicy.Linear)
                    1
                    0.5
                    (ValueSome wanted)
                    (TargetOutcome.Rejected 503)

            Expect.equal (next (ms 700.0)) (Some(ms 700.0)) "without jitter"
            Expect.equal (next (ms 5000.0)) (Some(ms 1000.0)) "not longer"
            Expect.equal (next (ms -1.0)) (Some RetryDecision.shortestWait) "a date that has passed"
        }

        test "the wait did not overflow after many attempts" {
            for backoff in [ BackoffPolicy.Linear; BackoffPolicy.Exponential ] do
                let retry = {
                    Retries = Int32.MaxValue
                    Backoff = backoff
                    Delay = TimeSpan.FromDays 1.0
                    Longest = TimeSpan.FromDays 1.0
                    LongestAsked = None
                }

                for made in [ 31; 32; 33; 62; 63; 64; 65; 1024; Int32.MaxValue ] do
                    Expect.equal
                        (RetryDecision.next retry made 1.0 ValueNone failure)
                        (Some retry.Longest)
                        $"{backoff} after {made}"
        }

        property
            "a wait is from the shortest to the ceiling, which is never above the longest time"
            (Prop.forAll cases (fun (backoff, made, jitter) ->
                let retry = policy 1000 backoff
                let ceiling = RetryDecision.ceiling retry made

                match RetryDecision.next retry made jitter ValueNone failure with
                | Some wait -> wait >= TimeSpan.Zero && wait <= ceiling && ceiling <= retry.Longest
                | None -> false))

        test "Gateway API durations" {
            for text, expected in
                [
                    "500ms", 500.0
                    "1m30s", 90000.0
                    "1h1m1s1ms", 3661001.0
                    "0s", 0.0
                    "99999s", 99999000.0
                ] do
                Expect.equal (GatewayDuration.tryParse text) (Some(ms expected)) text

            for text in
                [
                    ""
                    "1"
                    "1.5s"
                    "-1s"
                    "1us"
                    "1m 30s"
                    "100000s"
                    "1s1s1s1s1s"
                    "s"
                    "PT1S"
                ] do
                Expect.isNone (GatewayDuration.tryParse text) text
        }

        property "no text makes reading a duration throw" (fun (text: string | null) ->
            GatewayDuration.tryParse (string text)
            |> Option.forall (fun time -> time >= TimeSpan.Zero))
    ]
