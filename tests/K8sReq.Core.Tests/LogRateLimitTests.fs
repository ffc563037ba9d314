module K8sReq.Core.Tests.LogRateLimitTests

open System
open Expecto
open K8sReq.Core

let private length = TimeSpan.FromSeconds 10.0
let private at (seconds: float) = TimeSpan.FromSeconds seconds

let private offer now window =
    LogRateLimit.offer 2 length (at now) window

let tests =
    testList "LogRateLimit" [
        testProperty
            "every thing is said or counted as left out, once, and never more are said than may be"
            (fun (pauses: byte list) ->
                let mutable window = LogRateLimit.fresh
                let mutable now = 0.0
                let mutable said = []
                let mutable told = 0L

                for pause in pauses do
                    now <- now + float pause / 16.0
                    let struct (next, says, omitted) = offer now window
                    window <- next
                    told <- told + omitted

                    if says then
                        said <- now :: said

                let struct (_, last) =
                    LogRateLimit.flush length (at (now + length.TotalSeconds)) window

                let isCrowded =
                    said
                    |> List.exists (fun time ->
                        // A window begins with a line, so that two of them never overlap by more than one such length.
                        (said
                         |> List.filter (fun other -> other >= time && other < time + length.TotalSeconds))
                            .Length
                            >
                            4)

                int64 said.Length + told + last = int64 pauses.Length && not isCrowded)

        testCase "what was left out is told with the next line, or when nothing more comes"
        <| fun () ->
            let struct (window, _, _) = offer 0.0 LogRateLimit.fresh
            let struct (window, _, _) = offer 1.0 window
            let struct (window, says, _) = offer 2.0 window
            Expect.isFalse says "two are enough"
            let struct (_, says, omitted) = offer 10.0 window
            Expect.equal (says, omitted) (true, 1L) "with the next"
            let struct (_, early) = LogRateLimit.flush length (at 9.0) window
            let struct (after, omitted) = LogRateLimit.flush length (at 10.0) window
            Expect.equal (early, omitted) (0L, 1L) "when its time is over"
            let struct (_, again) = LogRateLimit.flush length (at 30.0) after
            Expect.equal again 0L "once"
    ]
