module K8sReq.Core.Tests.ForwardHeadersTests

open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private carried (lines: (string * string) list) =
    lines
    |> List.map (fun (name, value) -> struct (name, value))
    |> List.toArray
    |> ForwardHeaders.carried (ForwardHeaders.viaValue "k8sreq")
    |> Array.map (fun (struct (name, value)) -> name, value)
    |> List.ofArray

let private hasPassed value =
    (ForwardHeaders.tryFindOwnVia "k8sreq" [| struct ("via", value) |]).IsSome

let private ours = "Via", "1.1 k8sreq"

let private names =
    Gen.elements [
        "X-A"
        "x-a"
        "Accept"
        "Connection"
        "TE"
        "Keep-Alive"
        "Upgrade"
        "Via"
        "Content-Type"
    ]

let private values = Gen.elements [ "1"; "2"; "X-A"; "close, x-a"; "" ]

let private anyLines = Gen.zip names values |> Gen.listOf |> Arb.fromGen

let tests =
    testList "ForwardHeaders" [
        test "end-to-end fields are carried with their duplicates, in order, as they were written" {
            let lines = [ "x-a", "1"; "Accept", "*/*"; "X-A", "2"; "Cookie", "a=b; c=d"; "x-a", "" ]
            Expect.equal (carried lines) (lines @ [ ours ]) "nothing lost, nothing joined"
        }

        test "hop-by-hop fields are left out" {
            [
                "Connection"
                "Keep-Alive"
                "Proxy-Authenticate"
                "Proxy-Authorization"
                "Proxy-Connection"
                "TE"
                "Trailer"
                "transfer-encoding"
                "UPGRADE"
            ]
            |> List.iter (fun name -> Expect.equal (carried [ name, "x" ]) [ ours ] name)
        }

        test "what Connection names is left out, wherever it stands" {
            Expect.equal
                (carried [
                    "X-Hop", "1"
                    "Connection", "close, x-hop ,"
                    "connection", "Other"
                    "X-Hop", "2"
                    "other", "3"
                    "Y", "4"
                ])
                [ "Y", "4"; ours ]
                "both named fields are gone"
        }

        test "Host and Content-Length are for the sender of the copy to write" {
            Expect.equal (carried [ "Host", "a.example"; "content-length", "3" ]) [ ours ] "left out"
        }

        test "Via is appended after those of others" {
            Expect.equal
                (carried [ "Via", "1.1 a, 1.0 b" ])
                [ "Via", "1.1 a, 1.0 b"; ours ]
                "a line of its own"
        }

        test "a Via that names this proxy is recognised" {
            for value in
                [
                    "1.1 k8sreq"
                    "1.0 a, 1.1 K8sReq (comment)"
                    "HTTP/1.1  k8sreq"
                    "2 k8sreq,1.1 b"
                    "1.1\tk8sreq"
                ] do
                Expect.isTrue (hasPassed value) value
        }

        test "a Via that names others is not ours" {
            for value in [ ""; "1.1 other"; "1.1 k8sreq2"; "k8sreq"; "1.1 a (k8sreq)"; "1.1" ] do
                Expect.isFalse (hasPassed value) value

            Expect.isFalse
                (ForwardHeaders.tryFindOwnVia "k8sreq" [| struct ("X-Via", "1.1 k8sreq") |]).IsSome
                "another field"
        }

        property
            "what a copy carries is recognised as having passed"
            (Prop.forAll anyLines (fun lines ->
                let passed =
                    carried lines
                    |> List.map (fun (name, value) -> struct (name, value))
                    |> List.toArray

                (ForwardHeaders.tryFindOwnVia "k8sreq" passed).IsSome))

        property
            "nothing is added but Via, and order is kept"
            (Prop.forAll anyLines (fun lines ->
                let withoutOurs = carried lines |> List.rev |> List.tail |> List.rev

                // The carried lines are a subsequence of those that came.
                let rec isSubsequence (part: (string * string) list) whole =
                    match part, whole with
                    | [], _ -> true
                    | _, [] -> false
                    | p :: ps, w :: ws when p = w -> isSubsequence ps ws
                    | _, _ :: ws -> isSubsequence part ws

                isSubsequence withoutOurs lines))
    ]
