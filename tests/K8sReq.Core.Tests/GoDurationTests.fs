module K8sReq.Core.Tests.GoDurationTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private reads (text, milliseconds: float) = test $"\"{text}\" is {milliseconds} ms" {
    Expect.equal (GoDuration.tryParse text) (Some(TimeSpan.FromMilliseconds milliseconds)) "read"
}

let private refuses text = test $"\"{text}\" is refused" {
    Expect.isNone (GoDuration.tryParse text) "no duration"
}

let tests =
    testList "GoDuration" [
        testList
            "readings"
            ([
                "30s", 30_000.0
                "1m30s", 90_000.0
                "500ms", 500.0
                "1.5h", 5_400_000.0
                ".5s", 500.0
                "1.s", 1_000.0
                "0", 0.0
                "0s", 0.0
                "+5s", 5_000.0
                "1h1m1s1ms", 3_661_001.0
                "100us", 0.1
                "100µs", 0.1
                "1000000ns", 1.0
                "90s90s", 180_000.0
             ]
             |> List.map reads)

        testList
            "refusals"
            ([
                ""
                "30"
                "s"
                "-5s"
                "5 s"
                "5d"
                "5sm"
                "1..5s"
                "."
                ".s"
                "+"
                "5S"
                "1e3s"
                "9999999999999h"
             ]
             |> List.map refuses)

        property "what is rendered is read back" (fun (milliseconds: uint32) ->
            let duration = TimeSpan.FromMilliseconds(float milliseconds)
            GoDuration.tryParse (GoDuration.render duration) = Some duration)

        property "no text makes it throw" (fun (text: string | null) ->
            GoDuration.tryParse (string text)
            |> Option.forall (fun duration -> duration >= TimeSpan.Zero))
    ]
