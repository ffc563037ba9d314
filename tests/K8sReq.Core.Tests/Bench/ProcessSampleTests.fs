module K8sReq.Core.Tests.Bench.ProcessSampleTests

open System
open Expecto
open K8sReq.Bench

let private status =
    "Name:\tk8sreq\nVmHWM:\t   90000 kB\nVmRSS:\t   64000 kB\nThreads:\t9\nvoluntary_ctxt_switches:\t120\nnonvoluntary_ctxt_switches:\t7\n"

let private sample (threads: (int * int64 * int64) list) user system = {
    Threads = Map [ for id, cpu, switches in threads -> id, { Cpu = cpu; Switches = switches } ]
    UserTicks = user
    SystemTicks = system
    Memory = 0L
}

let tests =
    testList "Bench.ProcessSample" [
        test "user and system ticks come after a name with spaces and parentheses" {
            let stat =
                "812 (a (b) c) S 1 812 812 0 -1 4194560 2893 0 12 0 3141 592 0 0 20 0 9 0 1234 99 100"

            Expect.equal (ProcessSample.parseStat stat) (struct (3141L, 592L)) "the 14th and 15th field"
        }

        test "the CPU time of a thread is the first number of schedstat" {
            Expect.equal (ProcessSample.parseSchedStat "53468592 30847447 116\n") 53_468_592L "nanoseconds"
        }

        test "voluntary and other switches are added up" {
            Expect.equal (ProcessSample.parseSwitches status) 127L "120 + 7"
        }

        test "memory is in bytes, and what is resident now" {
            Expect.equal (ProcessSample.parseMemory status) (64_000L * 1024L) "VmRSS"
        }

        test "threads that have begun since count from zero" {
            let used =
                ProcessUse.between (sample [ 1, 100L, 5L ] 0L 0L) (sample [ 1, 900L, 8L; 2, 2000L, 4L ] 1L 3L)

            Expect.equal used.Cpu (TimeSpan.FromMicroseconds 2.8) "800 + 2000 ns"
            Expect.equal used.Switches 7L "3 + 4"
            Expect.equal used.UserShare 0.25 "one tick of four"
        }

        test "if a thread has ended, ticks of the whole process count" {
            let used =
                ProcessUse.between
                    (sample [ 1, 100L, 5L; 2, 50L, 1L ] 10L 10L)
                    (sample [ 1, 900L, 8L ] 14L 12L)

            Expect.equal used.Cpu (TimeSpan.FromMilliseconds 60L) "six ticks of 10 ms"
        }
    ]
