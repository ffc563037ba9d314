module K8sReq.Core.Tests.StatusRetryTests

open System
open Expecto
open K8sReq.Core

let private key = ObjectKey.create "shop" "copy"

let private patch: StatusPatch = {
    Key = key
    Uid = "u-1"
    Readiness = {
        IsReady = true
        Reason = "ServiceBackendReady"
        Message = "as it should be"
    }
    ObservedGeneration = 1L
    LastTransition = DateTimeOffset.UnixEpoch
    IsTransition = true
}

let private seconds (count: float) = TimeSpan.FromSeconds count

// Without jitter: half of the delay is what each wait has at least.
let private failedTimes failure count =
    ((Map.empty, TimeSpan.Zero), [ 1..count ])
    ||> List.fold (fun (held, now) _ ->
        let held, _ = StatusRetry.failed 1.0 now failure patch held
        held, held[key].NotBefore)

let tests =
    testList "StatusRetry" [
        test "a refused status waits longer each time, up to a bound" {
            let waits = [
                for count in 1..9 ->
                    let held, at = failedTimes StatusFailure.OfObject count

                    let before =
                        if count = 1 then
                            TimeSpan.Zero
                        else
                            snd (failedTimes StatusFailure.OfObject (count - 1))

                    Expect.equal held[key].Failures count "counted"
                    (at - before).TotalSeconds
            ]

            Expect.equal
                waits
                [ 5.0; 10.0; 20.0; 40.0; 80.0; 160.0; 300.0; 300.0; 300.0 ]
                "doubled, and bounded"
        }

        test "a status that a server could not take waits for at most 30 s" {
            let _, late = failedTimes (StatusFailure.OfServer None) 9
            let _, earlier = failedTimes (StatusFailure.OfServer None) 8
            Expect.equal (late - earlier) (seconds 30.0) "bounded"
        }

        test "only the first failure of a status is new" {
            let held, isFirst =
                StatusRetry.failed 0.5 TimeSpan.Zero StatusFailure.OfObject patch Map.empty

            let held, isSecondFirst =
                StatusRetry.failed 0.5 (seconds 9.0) StatusFailure.OfObject patch held

            let changed = { patch with ObservedGeneration = 2L }

            let held, isOtherFirst =
                StatusRetry.failed 0.5 (seconds 9.0) StatusFailure.OfObject changed held

            Expect.equal (isFirst, isSecondFirst, isOtherFirst) (true, false, true) "news"
            Expect.equal held[key].Failures 1 "counted from the start for another status"
        }

        test "a status is held until its time; another one of the same object is not" {
            let held, _ =
                StatusRetry.failed 1.0 TimeSpan.Zero StatusFailure.OfObject patch Map.empty

            Expect.isTrue (StatusRetry.isHeld (seconds 4.9) held patch) "held"
            Expect.isFalse (StatusRetry.isHeld (seconds 5.0) held patch) "its time has come"

            let others = [
                { patch with ObservedGeneration = 2L }
                { patch with Uid = "u-2" }
                {
                    patch with
                        Readiness = { patch.Readiness with IsReady = false }
                }
                {
                    patch with
                        Key = ObjectKey.create "shop" "other"
                }
            ]

            for other in others do
                Expect.isFalse (StatusRetry.isHeld TimeSpan.Zero held other) "another one"
        }

        test "what is due, and when the next one is" {
            let other = {
                patch with
                    Key = ObjectKey.create "shop" "other"
            }

            let held, _ =
                StatusRetry.failed 1.0 TimeSpan.Zero StatusFailure.OfObject patch Map.empty

            let held, _ = StatusRetry.failed 1.0 (seconds 2.0) StatusFailure.OfObject other held
            Expect.equal (StatusRetry.due (seconds 4.0) held) [] "none"
            Expect.equal (StatusRetry.nextDue (seconds 4.0) held) (Some(seconds 1.0)) "the first"
            Expect.equal (StatusRetry.due (seconds 6.0) held) [ key ] "one"
            Expect.equal (StatusRetry.nextDue (seconds 6.0) held) (Some TimeSpan.Zero) "at once"
            Expect.equal (StatusRetry.nextDue TimeSpan.Zero Map.empty) None "nothing waits"
        }
    ]
