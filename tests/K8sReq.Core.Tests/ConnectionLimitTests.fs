module K8sReq.Core.Tests.ConnectionLimitTests

open Expecto
open K8sReq.Core

let private limits (soft: string) =
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    + "Max processes             95718                95718                processes \n"
    + $"Max open files            {soft}                 524288               files     \n"

let tests =
    testList "ConnectionLimit" [
        test "the soft limit of descriptors is read where there is one" {
            Expect.equal (ConnectionLimit.tryDescriptors (limits "1024")) (Some 1024L) "a number"
            Expect.equal (ConnectionLimit.tryDescriptors (limits "unlimited")) None "none"
            Expect.equal (ConnectionLimit.tryDescriptors "") None "nothing"
        }

        test "a pod of 512 MiB has thousands, few descriptors make it fewer, and some are always kept" {
            let mebibytes n = n * 1024L * 1024L
            Expect.equal (ConnectionLimit.byResources (mebibytes 512L) None) 4096 "by memory"

            Expect.equal
                (ConnectionLimit.byResources (mebibytes 512L) (Some 1_048_576L))
                4096
                "by memory still"

            Expect.equal (ConnectionLimit.byResources (mebibytes 512L) (Some 1024L)) 384 "by descriptors"
            Expect.equal (ConnectionLimit.byResources (mebibytes 512L) (Some 100L)) 64 "at least"
            Expect.equal (ConnectionLimit.byResources System.Int64.MaxValue None) 65_536 "at most"
        }
    ]
