module K8sReq.Proxy.Tests.CloneStatisticsTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private delivered (number: int) : CopyDelivered = {
    At = DateTimeOffset.UnixEpoch
    Endpoint = "10.0.0.7:80"
    Status = 200 + number
    Attempts = 1
    Duration = TimeSpan.Zero
    TraceId = ""
}

let private lost (number: int) : CopyFailure = {
    At = DateTimeOffset.UnixEpoch.AddSeconds(float number)
    Target = Targets.named "copy"
    Outcome = TargetOutcome.Rejected 503
    Attempts = 1
    Duration = TimeSpan.Zero
    TraceId = ""
}

let tests =
    testList "CloneStatistics" [
        test "one delivered copy of each slot is kept, the last twelve" {
            let statistics = CloneStatistics(ObjectKey.create "shop" "copy")
            Expect.isTrue statistics.WantsDelivery "the first"

            for number in 0..19 do
                statistics.End(TargetOutcome.Delivered 200, TimeSpan.Zero)
                statistics.KeepDelivered(delivered number)
                Expect.isFalse statistics.WantsDelivery "no more in this slot"
                statistics.CloseSlot DateTimeOffset.UnixEpoch
                Expect.isTrue statistics.WantsDelivery "one of the next"

            Expect.equal
                (statistics.Deliveries |> List.map _.Status |> List.sort)
                [ 208..219 ]
                "the last twelve"
        }

        test "the slots are closed of those RequestClones that have had a copy, while they are there" {
            let directory = CloneDirectory()
            let a, b = ObjectKey.create "shop" "a", ObjectKey.create "shop" "b"
            let first, idle = (directory.Of a).Statistics, (directory.Of b).Statistics

            // Whether a slot of it is closed.
            let isClosed (statistics: CloneStatistics) =
                statistics.End(TargetOutcome.Delivered 200, TimeSpan.Zero)
                statistics.KeepDelivered(delivered 0)
                directory.CloseSlots DateTimeOffset.UnixEpoch
                statistics.WantsDelivery

            Expect.isTrue (isClosed first) "of the one that has had a copy"
            Expect.isTrue (isClosed first) "each time"
            Expect.equal idle.History ValueNone "of the other there is nothing to close"

            directory.Remove [ a ]
            Expect.isFalse (isClosed first) "of the one that is no more"

            let again = (directory.Of a).Statistics
            Expect.isTrue (isClosed again) "of the one that has its name now"
            Expect.isFalse (isClosed first) "and of that alone"
        }

        test "the last sixteen that were not delivered are kept" {
            let statistics = CloneStatistics(ObjectKey.create "shop" "copy")
            Expect.isEmpty statistics.Failures "none yet"

            for number in 1..50 do
                statistics.Keep(lost number)

            Expect.equal
                (statistics.Failures |> List.map _.At.Second |> List.sort)
                [ 35..50 ]
                "the last sixteen"
        }

        test "what failed in the journal, and what was dropped there, is in the history" {
            let statistics = CloneStatistics(ObjectKey.create "shop" "copy")
            statistics.Recover 3L
            statistics.Fail 2L
            statistics.Drop 1L

            match statistics.History with
            | ValueSome history ->
                Expect.equal
                    (history.LastMinute statistics.Totals)
                    {
                        Delivered = 0
                        Failed = 2
                        Dropped = 1
                    }
                    "lost"
            | ValueNone -> failtest "there is no history"
        }
    ]
