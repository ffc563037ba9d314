module K8sReq.Core.Tests.TargetOutcomeTests

open Expecto
open K8sReq.Core

let tests =
    testList "TargetOutcome" [
        test "2xx is a delivery" {
            for status in [ 200; 202; 204; 299 ] do
                Expect.equal (TargetOutcome.ofStatus status) (TargetOutcome.Delivered status) "delivered"
        }

        test "a redirect, a refusal or a failure of the target is none" {
            for status in [ 199; 300; 302; 400; 404; 500; 503 ] do
                Expect.equal (TargetOutcome.ofStatus status) (TargetOutcome.Rejected status) "rejected"
                Expect.isFalse (TargetOutcome.isDelivered (TargetOutcome.ofStatus status)) "no delivery"
        }

        test "only a delivery counts as one, and every outcome has words" {
            let failures = [
                TargetOutcome.ConnectFailed "refused"
                TargetOutcome.TimedOut TimeoutPhase.Sending
                TargetOutcome.TimedOut TimeoutPhase.Answering
                TargetOutcome.SendFailed "reset"
                TargetOutcome.BadAnswer "garbage"
                TargetOutcome.Overflowed
                TargetOutcome.Cancelled
                TargetOutcome.Faulted "bug"
            ]

            for outcome in failures do
                Expect.isFalse (TargetOutcome.isDelivered outcome) "no delivery"

            Expect.isTrue (TargetOutcome.isDelivered (TargetOutcome.Delivered 200)) "a delivery"

            Expect.equal
                (failures |> List.filter TargetOutcome.isDropped)
                [ TargetOutcome.Overflowed; TargetOutcome.Cancelled ]
                "what no target has failed"

            let words =
                TargetOutcome.Delivered 200 :: failures |> List.map TargetOutcome.describe

            Expect.equal (List.distinct words) words "each says something else"
        }
    ]
