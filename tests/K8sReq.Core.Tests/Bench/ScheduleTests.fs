module K8sReq.Core.Tests.Bench.ScheduleTests

open System
open Expecto
open K8sReq.Bench

let private ten = TimeSpan.FromSeconds 10.0

let private gaps (schedule: int64[]) =
    schedule |> Array.pairwise |> Array.map (fun (a, b) -> float (b - a))

let tests =
    testList "Bench.Schedule" [
        test "evenly, 2000 requests a second are half a millisecond apart" {
            let schedule = Schedule.even 2000.0 ten
            Expect.equal schedule.Length 20_000 "2000/s for 10 s"
            Expect.equal schedule[0] 0L "the first one is due at once"
            Expect.allEqual (gaps schedule) 500_000.0 "nanoseconds"
        }

        test "a Poisson process has the rate that is asked for" {
            let count = (Schedule.poisson 1 2000.0 ten).Length
            // Five standard deviations of a count of 20,000 are 707.
            Expect.isTrue (abs (count - 20_000) < 707) $"{count} requests in 10 s at 2000/s"
        }

        test "the gaps of a Poisson process are distributed exponentially" {
            let gaps = gaps (Schedule.poisson 1 2000.0 ten)
            let mean = Array.average gaps
            let deviation = gaps |> Array.averageBy (fun gap -> (gap - mean) ** 2.0) |> sqrt
            // An exponential distribution's deviation is its mean; 1/e of it is above the mean.
            Expect.floatClose { absolute = 0.05; relative = 0.0 } (deviation / mean) 1.0 "deviation / mean"

            let above =
                float (gaps |> Array.filter (fun gap -> gap > mean) |> Array.length)
                / float gaps.Length

            Expect.floatClose { absolute = 0.02; relative = 0.0 } above (exp -1.0) "the share above the mean"
        }

        test "nothing is due after the end, and times do not go back" {
            let schedule = Schedule.poisson 7 400.0 ten
            Expect.isTrue (Array.last schedule < 10_000_000_000L) "within 10 s"
            Expect.isTrue (gaps schedule |> Array.forall (fun gap -> gap >= 0.0)) "in order"
        }

        test "the same seed gives the same schedule, another one another" {
            Expect.equal (Schedule.poisson 3 400.0 ten) (Schedule.poisson 3 400.0 ten) "seed 3 twice"
            Expect.notEqual (Schedule.poisson 3 400.0 ten) (Schedule.poisson 4 400.0 ten) "seeds 3 and 4"
        }

        test "saturation has no schedule" {
            Expect.isNone (Schedule.ofPace 1 ten Pace.Saturation) "as fast as they are answered"
        }
    ]
