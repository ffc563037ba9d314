module K8sReq.Core.Tests.HostMapTests

open Expecto
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private known =
    [ "a.example"; "a-b.example"; "10.0.0.1"; "[::1]"; "x" ]
    |> List.map (fun text ->
        match HostName.parse text with
        | Ok host -> host
        | Error error -> failwith $"{error}")

let private index =
    known |> List.map (fun host -> host, host.Value) |> HostMap.ofSeq

// What parsing says, which is what decides of a RequestClone's host.
let private naive (text: string) =
    match HostName.parse text with
    | Ok host when List.contains host known -> ValueSome host.Value
    | _ -> ValueNone

// Texts that are nearly hosts: from few pieces, so that many of them are.
let private nearly = gen {
    let! name =
        Gen.elements [
            "a.example"
            "A.EXAMPLE"
            "a-b.Example"
            "10.0.0.1"
            "[::1]"
            "[0:0:0:0:0:0:0:1]"
            "::1"
            "[::1"
            "x"
            ""
            "a..example"
            "\u212A"
        ]

    let! ending = Gen.elements [ ""; ""; "."; ".."; ":"; ".:"; " "; "]"; "*" ]

    let! port =
        Gen.elements [
            ""
            ""
            "80"
            ":80"
            ":"
            ":65535"
            ":65536"
            ":99999"
            ":080"
            ":8o"
            ":-1"
            ":+1"
            ": 1"
            ":80:80"
        ]

    let! last = Gen.elements [ ""; ""; ""; "."; "/" ]
    return name + ending + port + last
}

let tests =
    testList "HostMap" [
        for text, isFound in
            [
                "a.example:99999", false
                "a.example:65536", false
                "a.example:65535", true
                "a.example:", true
                "A.example.:8080", true
                "[::1]:80", true
                "[0:0::1]", true
                "[::1]:x", false
            ] do
            test $"\"{text}\"" {
                Expect.equal (index.TryFind text).IsSome isFound "found"
                Expect.equal (index.TryFind text) (naive text) "as it is parsed"
            }

        testPropertyWithConfig
            {
                FsCheckConfig.defaultConfig with
                    maxTest = 3000
            }
            "a host is found by exactly the texts that are read as it"
        <| Prop.forAll (Arb.fromGen nearly) (fun text -> index.TryFind text = naive text)

        testProperty "and by no other text"
        <| fun (letters: char list) ->
            let text = System.String(List.toArray letters)
            index.TryFind text = naive text

        property "after any changes it is the map that they make" (fun (changes: (byte * int option) list) ->
            let hostOf (number: byte) =
                match HostName.parse $"h{number % 40uy}.example" with
                | Ok host -> host
                | Error error -> failwith $"{error}"

            let map, expected =
                ((HostMap<int>.Empty, Map.empty), changes)
                ||> List.fold (fun (map, expected) (number, value) ->
                    let host = hostOf number

                    match value with
                    | Some value -> map.Set(host, value), Map.add host value expected
                    | None -> map.Remove host, Map.remove host expected)

            map.Ordered = Map.toList expected
            && map.Count = expected.Count
            && [ 0uy .. 39uy ]
               |> List.forall (fun number ->
                   let host = hostOf number
                   ValueOption.toOption (map.TryGet host) = expected.TryFind host))

        test "ten thousand hosts, each found, and each gone once it is removed" {
            let hosts =
                [ 1..10_000 ]
                |> List.map (fun n ->
                    match HostName.parse $"host-{n}.example" with
                    | Ok host -> host
                    | Error error -> failwith $"{error}")

            let map = hosts |> List.map (fun host -> host, host.Value) |> HostMap.ofSeq
            Expect.equal map.Count 10_000 "all"

            for host in hosts do
                Expect.equal
                    (map.TryFind $"{host.Value.ToUpperInvariant()}:80")
                    (ValueSome host.Value)
                    "found"

            let odd = hosts |> List.indexed |> List.filter (fun (index, _) -> index % 2 = 1)

            let half =
                (map, odd)
                ||> List.fold (fun (map: HostMap<string>) (_, host) -> map.Remove host)

            Expect.equal half.Count 5_000 "half of them"

            for index, host in List.indexed hosts do
                Expect.equal (half.TryGet host).IsSome (index % 2 = 0) "the others"

            Expect.equal map.Count 10_000 "the map before is as it was"
        }

        test "a lookup allocates nothing" {
            let text = "A.Example:8080"
            index.TryFind text |> ignore
            let before = System.GC.GetAllocatedBytesForCurrentThread()

            for _ in 1..1000 do
                index.TryFind text |> ignore

            // The runtime may compile the method meanwhile.
            Expect.isLessThan (System.GC.GetAllocatedBytesForCurrentThread() - before) 1000L "a byte each"
        }
    ]
