/// How dead letters are named and asked for.
module K8sReq.Core.Tests.DeadLetterTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private now = DateTimeOffset(2026, 1, 31, 12, 0, 0, TimeSpan.Zero)

let private filterOf (fields: (string * string) list) =
    DeadLetterQuery.ofFields now 100 (fun name -> fields |> List.tryFind (fst >> (=) name) |> Option.map snd)

let tests =
    testList "dead letters" [
        property
            "an id is read as it is written"
            (Prop.forAll
                (Arb.fromGen (Gen.zip (Gen.choose (0, Int32.MaxValue)) (Gen.choose (0, 5000))))
                (fun (request, copy) ->
                    let id = { Request = int64 request; Copy = copy }
                    CopyId.tryParse (string id) = Some id))

        test "what is no id is none" {
            for text in
                [
                    ""
                    "-"
                    "1"
                    "1-"
                    "-1"
                    "1-2-3"
                    " 1-2"
                    "1-+2"
                    "99999999999999999999-0"
                    "a-b"
                ] do
                Expect.isNone (CopyId.tryParse text) text
        }

        test "a filter is read" {
            Expect.equal (filterOf []) (Ok DeadLetterFilter.everything) "none"

            Expect.equal
                (filterOf [
                    "id", "17-2"
                    "clone", "shop/ci"
                    "outcome", "expired"
                    "since", "2h"
                    "until", "2026-01-31T11:30:00Z"
                    "limit", "7"
                ])
                (Ok {
                    Id = Some { Request = 17L; Copy = 2 }
                    Clone = Some(ObjectKey.create "shop" "ci")
                    Cause = Some DeadCause.Expired
                    Since = Some(now.AddHours -2.0)
                    Until = Some(now.AddMinutes -30.0)
                    Limit = 7
                })
                "all"

            Expect.equal
                (filterOf [ "since", "2026-01-31T13:30:00.5+02:00" ] |> Result.map _.Since)
                (Ok(Some(now.AddMinutes(-30.0).AddSeconds 0.5)))
                "with an offset"
        }

        test "every field that is not understood is told: what is removed by a filter is gone" {
            match
                filterOf [
                    "id", "x"
                    "clone", "ci"
                    "outcome", "failed"
                    "since", "yesterday"
                    "until", "-1h"
                    "limit", "0"
                ]
            with
            | Ok filter -> failtest $"{filter}"
            | Error faults -> Expect.hasLength faults 6 $"{faults}"
        }

        test "the path and query of a copy are those of its first line" {
            for target in [ "/"; "/a?b=c%20d"; "*"; "/a:b//c" ] do
                Expect.equal
                    (CapturedRequest.target (Requests.create target [| struct ("X-Test", "1") |] [||]))
                    target
                    target
        }

        test "fields are left out by name, whatever their case, and the body stays" {
            let request =
                Requests.create "/" [| struct ("X-Test", "1") |] "X-A: 1\r\n\r\n"B
                |> CapturedRequest.withHead (
                    HeadChange.adding [| struct ("X-A", "1"); struct ("X-B", "x-a: 2"); struct ("x-a", "3") |]
                )

            let without = request |> CapturedRequest.withHead (HeadChange.removing [| "X-A" |])

            Expect.equal
                (Requests.textOf without)
                "POST / HTTP/1.1\r\nHost: A.example:80\r\nX-Test: 1\r\nContent-Length: 10\r\nX-B: x-a: 2\r\n\r\nX-A: 1\r\n\r\n"
                "two of them"

            let again =
                CapturedRequest.withHead (HeadChange.adding [| struct ("X-A", "4") |]) without

            Expect.stringContains
                (Requests.textOf again)
                "X-B: x-a: 2\r\nX-A: 4\r\n\r\nX-A: 1"
                "and one can be put at the end"
        }
    ]
