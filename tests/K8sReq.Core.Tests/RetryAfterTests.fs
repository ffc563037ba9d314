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
                "3.5", ValueSome 3.5
                "0.25", ValueSome 0.25
                " 7 ", ValueSome 7.0
                "99999999999", ValueSome(36500.0 * 86400.0)
                String('9', 400), ValueSome(36500.0 * 86400.0)
                "Tue, 01 Jan 2030 00:01:00 +0000", ValueSome 60.0
                "Tue, 01 Jan 2030 01:01:00 +0100", ValueSome 60.0
                "Tue, 01 Jan 2030 00:01:00 UTC", ValueSome 60.0
                "Tue, 1 Jan 2030 00:01:00 GMT", ValueSome 60.0
                "Tue, 01 Jan 2030 00:01:00", ValueSome 60.0
                "01 Jan 2030 00:01:00 GMT", ValueSome 60.0
                "2030-01-01T00:01:00Z", ValueSome 60.0
                "2030-01-01T00:01:00.500Z", ValueSome 60.5
                "2030-01-01T01:01:00+01:00", ValueSome 60.0
                "2030-01-01 00:01:00 UTC", ValueSome 60.0
                "1.", ValueNone
                ".5", ValueNone
                "1.2.3", ValueNone
                "1e9", ValueNone
                "+7", ValueNone
                "7 s", ValueNone
                "Fri, 01 Jan 2030 00:01:00 GMT", ValueNone
                "soon", ValueNone
            ] do
            test $"\"{value}\"" {
                Expect.equal
                    (RetryAfter.tryParse now value)
                    (expected |> ValueOption.map TimeSpan.FromSeconds)
                    "from now on"
            }

        testProperty "any number of seconds waits for up to the longest backoff"
        <| fun (digits: FsCheck.NonEmptyArray<byte>) ->
            let text = String.Join("", digits.Get |> Array.map (fun digit -> digit % 10uy))

            let policy = {
                DeliveryPolicy.byDefault.Retry with
                    Retries = 1
            }

            let wait =
                RetryDecision.next policy 1 0.5 (RetryAfter.tryParse now text) (TargetOutcome.Rejected 503)

            let expected =
                Double.Parse text
                |> min policy.Longest.TotalSeconds
                |> max RetryDecision.shortestWait.TotalSeconds

            wait |> Option.map _.TotalSeconds = Some expected

        testProperty "any text is read or not, and nothing else happens"
        <| fun (letters: char list) ->
            match RetryAfter.tryParse now (String(Array.ofList letters)) with
            | ValueSome time -> time <= TimeSpan.FromDays 3650000.0
            | ValueNone -> true
    ]
