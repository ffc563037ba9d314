module K8sReq.Core.Tests.Bench.StatisticsTests

open Expecto
open K8sReq.Bench

let tests =
    testList "Bench.Statistics" [
        test "the median of an odd number of values is the one in the middle" {
            Expect.equal (Statistics.median [ 9.0; 1.0; 2.0 ]) 2.0 "sorted: 1, 2, 9"
        }

        test "the median of an even number of values is between the two in the middle" {
            Expect.equal (Statistics.median [ 9.0; 1.0; 2.0; 3.0 ]) 2.5 "sorted: 1, 2, 3, 9"
        }

        test "no values have no median and no percentile" {
            Expect.isTrue (nan.Equals(Statistics.median [])) "median"
            Expect.isTrue (nan.Equals(Statistics.percentile 0.5 [||])) "percentile"
        }

        test "a percentile is one of the values" {
            let hundred = [| 1.0 .. 100.0 |]
            Expect.equal (Statistics.percentile 0.99 hundred) 100.0 "99 of 100 are below it"
            Expect.equal (Statistics.percentile 0.5 hundred) 51.0 "50 of 100 are below it"
            Expect.equal (Statistics.percentile 1.0 hundred) 100.0 "the last one"
        }

        test "ratios are of the same round" {
            Expect.equal (Statistics.ratios [ 10.0; 40.0 ] [ 20.0; 40.0 ]) [ 0.5; 1.0 ] "10/20, 40/40"
        }
    ]
