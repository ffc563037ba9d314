module K8sReq.Proxy.Tests.HostIndexTests

open Expecto
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private known =
    [ "a.example"; "a-b.example"; "10.0.0.1"; "[::1]"; "x" ]
    |> List.map (fun text ->
        match HostName.parse text with
        | Ok host -> host
        | Error error -> failwith $"{error}")

let private index =
    let index = HostIndex<string>()

    for host in known do
        index.Set(host, host.Value)

    index

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
    testList "HostIndex" [
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
    ]
