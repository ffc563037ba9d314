module K8sReq.Core.Tests.RetryAfterTests

open System
open Expecto
open K8sReq.Core

let private now = DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero)

let tests =
    testList "RetryAfter" [
        for value, expected in
            [
                "0", ValueSome 0.0
                "7", ValueSome 7.0
                "Tue, 01 Jan 2030 00:01:00 GMT", ValueSome 60.0
                "Tuesday, 01-Jan-30 00:01:00 GMT", ValueSome 60.0
                "Tue Jan  1 00:01:00 2030", ValueSome 60.0
                "Mon, 31 Dec 2029 23:59:00 GMT", ValueSome -60.0
                "", ValueNone
                "-1", ValueNone
                "1.5", ValueNone
                "99999999999", ValueNone
                "soon", ValueNone
            ] do
            test $"\"{value}\"" {
                Expect.equal
                    (RetryAfter.tryParse now value)
                    (expected |> ValueOption.map TimeSpan.FromSeconds)
                    "from now on"
            }
    ]
