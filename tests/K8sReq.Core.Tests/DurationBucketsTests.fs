module K8sReq.Core.Tests.DurationBucketsTests

open System
open Expecto
open FsCheck.FSharp
open K8sReq.Core

let private counted (durations: TimeSpan list) : int64[] =
    let counts = Array.zeroCreate<int64> DurationBuckets.classes

    for duration in durations do
        let index = DurationBuckets.classOf duration
        counts[index] <- counts[index] + 1L

    counts

let private milliseconds (value: float) = TimeSpan.FromMilliseconds value

let private durations =
    Gen.choose (0, 200_000_000)
    |> Gen.map (fun microseconds -> TimeSpan.FromMicroseconds(float microseconds))
    |> Gen.nonEmptyListOf
    |> Arb.fromGen

let private isFinite (duration: TimeSpan) =
    DurationBuckets.classOf duration < DurationBuckets.classes - 1

let tests =
    testList "DurationBuckets" [
        test "every class begins where it says" {
            for index in 0 .. DurationBuckets.classes - 1 do
                Expect.equal
                    (DurationBuckets.classOf (DurationBuckets.lowerBound index))
                    index
                    $"class {index}"
        }

        test "and ends a tick before the next one begins" {
            for index in 1 .. DurationBuckets.classes - 1 do
                let before = DurationBuckets.lowerBound index - TimeSpan.FromMicroseconds 1.0
                Expect.equal (DurationBuckets.classOf before) (index - 1) $"before class {index}"
        }

        test "no duration is out of bounds" {
            Expect.equal (DurationBuckets.classOf TimeSpan.Zero) 0 "none"
            Expect.equal (DurationBuckets.classOf (milliseconds -5.0)) 0 "a clock that was set back"

            Expect.equal
                (DurationBuckets.classOf TimeSpan.MaxValue)
                (DurationBuckets.classes - 1)
                "the longest"
        }

        test "of nothing there is no quantile" {
            Expect.isNone (DurationBuckets.quantile 0.5 (counted [])) "none"
        }

        test "half of them, and all but one in a hundred" {
            let counts =
                counted [
                    for _ in 1..98 -> milliseconds 2.0
                    for _ in 1..2 -> milliseconds 900.0
                ]

            let quantile share =
                (DurationBuckets.quantile share counts |> Option.get).TotalMilliseconds

            Expect.isTrue (abs (quantile 0.5 - 2.0) < 0.5) $"the median is {quantile 0.5}"
            Expect.isTrue (abs (quantile 0.99 - 900.0) < 225.0) $"the 99th of a hundred is {quantile 0.99}"
        }

        testProperty "a quantile is at most a quarter away from that of the durations themselves"
        <| Prop.forAll durations (fun durations ->
            let exact = List.sort durations
            let counts = counted durations

            for share in [ 0.01; 0.5; 0.9; 0.99; 1.0 ] do
                let rank = Math.Max(1.0, Math.Ceiling(share * float exact.Length))
                let expected = exact[int rank - 1]
                let found = DurationBuckets.quantile share counts |> Option.get

                if isFinite expected then
                    let slack = Math.Max(64.0, expected.TotalMicroseconds / 4.0)

                    Expect.isLessThanOrEqual
                        (abs (found - expected).TotalMicroseconds)
                        slack
                        $"{share}: {found} for {expected}"
                else
                    Expect.equal
                        found
                        (DurationBuckets.lowerBound (DurationBuckets.classes - 1))
                        "no more is known")
    ]
