module K8sReq.Core.Tests.Bench.MachineSampleTests

open System
open Expecto
open K8sReq.Bench

let tests =
    testList "Bench.MachineSample" [
        test "a machine is busy while it is neither idle nor waits for a disk" {
            let stat = "cpu  10 20 30 4000 5000 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"

            Expect.equal
                (MachineSample.parse stat).Busy
                (TimeSpan.FromMilliseconds 810L)
                "user, nice, system, irq, softirq, steal: 81 ticks"
        }
    ]
