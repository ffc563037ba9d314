/// Request ids are UUIDs of version 7 that anybody else's tools read as such.
module K8sReq.Proxy.Tests.RequestIdTests

open System
open Expecto
open K8sReq.Proxy
open K8sReq.TestKit

let tests =
    testList "request ids" [
        testCase "version 7, RFC 9562's variant, and the time in front"
        <| fun () ->
            let clock = TestClock()

            for _ in 1..1000 do
                let id = RequestIds.next clock
                Expect.equal id.Version 7 "version"
                Expect.equal (id.Variant >>> 2) 2 "variant"
                let time = Convert.ToInt64((string id).Replace("-", "").Substring(0, 12), 16)
                Expect.equal time (clock.GetUtcNow().ToUnixTimeMilliseconds()) "time"

        testCase "those of one moment differ in every part that is random"
        <| fun () ->
            let clock = TestClock()
            let ids = [ for _ in 1..10_000 -> RequestIds.next clock ]
            Expect.equal (List.distinct ids).Length ids.Length "all differ"

            // Each of the 74 bits is set in some and clear in others.
            let bits (id: Guid) = id.ToByteArray true
            let seen = ids |> List.map bits

            for index in 6..15 do
                let any = seen |> List.fold (fun all id -> all ||| id[index]) 0uy
                let every = seen |> List.fold (fun all id -> all &&& id[index]) 0xFFuy

                let fixedBits =
                    match index with
                    | 6 -> 0xF0uy
                    | 8 -> 0xC0uy
                    | _ -> 0uy

                Expect.equal (any ||| fixedBits, every &&& ~~~fixedBits) (0xFFuy, 0uy) $"byte {index}"
    ]
