module K8sReq.Proxy.Tests.DurationHistogramTests

open System
open Expecto
open K8sReq.Proxy

let tests =
    testList "DurationHistogram" [
        test "a duration counts for the first bound that it does not exceed, and beyond the last one for none" {
            let histogram = DurationHistogram.OfHttp()

            // Nothing, a bound, a little more, and longer than all of them.
            for milliseconds in [ 0.0; 5.0; 5.1; 10_000.0; 10_001.0 ] do
                histogram.Record(TimeSpan.FromMilliseconds milliseconds)

            let value = histogram.Value
            Expect.equal value.Counts.Length (histogram.Bounds.Length + 1) "one more than there are bounds"

            Expect.equal
                (value.Counts
                 |> Array.indexed
                 |> Array.filter (fun (_, count) -> count > 0L)
                 |> List.ofArray)
                [ 0, 2L; 1, 1L; 13, 1L; 14, 1L ]
                "where they fell"

            Expect.floatClose Accuracy.high value.Sum 20.0111 "the sum in seconds"
        }

        test "histograms share their bounds and nothing else" {
            let one, other = DurationHistogram.OfHttp(), DurationHistogram.OfHttp()
            one.Record(TimeSpan.FromSeconds 1.0)
            Expect.equal (Array.sum other.Value.Counts, other.Value.Sum) (0L, 0.0) "nothing"
        }
    ]
