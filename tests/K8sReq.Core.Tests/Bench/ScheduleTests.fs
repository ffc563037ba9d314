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
            Expect.allEqual (gaps schedule[..199]) 500_000.0 "nanoseconds, within a tenth of a second"
        }

        test "no two tenths of a second are in the same phase" {
            let phases =
                Schedule.even 2000.0 ten
                |> Array.chunkBySize 200
                |> Array.map (fun tenth -> tenth[0] % 500_000L)

            // A hundred of them, 5000 ns apart if they were perfectly spread.
            let sorted = Array.sort phases

            Expect.all
                (gaps sorted)
                (fun gap -> gap > 1000.0 && gap < 10_000.0)
                "spread over half a millisecond"
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
            for schedule in [ Schedule.poisson 7 400.0 ten; Schedule.even 400.0 ten ] do
                Expect.isTrue (Array.last schedule < 10_000_000_000L) "within 10 s"
                Expect.all (gaps schedule) (fun gap -> gap >= 0.0) "in order"
        }

        test "the same seed gives the same schedule, another one another" {
            Expect.equal (Schedule.poisson 3 400.0 ten) (Schedule.poisson 3 400.0 ten) "seed 3 twice"
            Expect.notEqual (Schedule.poisson 3 400.0 ten) (Schedule.poisson 4 400.0 ten) "seeds 3 and 4"
        }

        test "saturation has no schedule" {
            Expect.isNone (Schedule.ofPace 1 ten Pace.Saturation) "as fast as they are answered"
        }
    ]
