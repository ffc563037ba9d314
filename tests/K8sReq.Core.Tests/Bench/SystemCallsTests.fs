module K8sReq.Core.Tests.Bench.SystemCallsTests

open Expecto
open K8sReq.Bench

let tests =
    testList "Bench.SystemCalls" [
        test "perf prints a count in front of the event" {
            Expect.equal
                (SystemCalls.parsePerf "1134,,raw_syscalls:sys_enter,12023591,100.00,,\n")
                (Some 1134L)
                "the first field"
        }

        test "perf that may not count gives no count" {
            for text in
                [
                    "<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"
                    "<not supported>,,raw_syscalls:sys_enter,0,0.00,,\n"
                    "Error:\nevent syntax error: 'raw_syscalls:sys_enter'\n"
                    ""
                ] do
                Expect.isNone (SystemCalls.parsePerf text) text
        }

        test "strace prints a summary, whose column of errors may be empty" {
            let summary (errors: string) =
                "% time     seconds  usecs/call     calls    errors syscall\n"
                + "------ ----------- ----------- --------- --------- ----------------\n"
                + " 60.00    0.000600           1       400           sendto\n"
                + $"100.00    0.001000           1       523 {errors} total\n"

            Expect.equal (SystemCalls.parseStrace (summary "       12")) (Some 523L) "with errors"
            Expect.equal (SystemCalls.parseStrace (summary "         ")) (Some 523L) "without"
            Expect.isNone (SystemCalls.parseStrace "strace: attach: Operation not permitted\n") "not attached"
        }
    ]
