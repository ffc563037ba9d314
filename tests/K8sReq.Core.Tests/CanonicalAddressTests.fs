module K8sReq.Core.Tests.CanonicalAddressTests

open System.Net
open System.Net.Sockets
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private parse text =
    CanonicalAddress.tryParse text |> Option.map string

let private bytes length =
    Gen.elements [ 0; 0; 0; 1; 10; 127; 255 ]
    |> Gen.map byte
    |> Gen.listOfLength length
    |> Gen.map (List.toArray >> IPAddress)

let private anyAddress = Gen.oneof [ bytes 4; bytes 16 ] |> Arb.fromGen

// Texts that are nearly addresses, some of which are.
let private anyText =
    Gen.elements [
        "0"
        "1"
        "10"
        "010"
        "255"
        "256"
        "."
        "."
        ":"
        ":"
        "::"
        "ff"
        "0x1"
        "%1"
        "fd00"
    ]
    |> Gen.listOf
    |> Gen.map (List.truncate 12 >> String.concat "")
    |> Arb.fromGen

let tests =
    testList "CanonicalAddress" [
        property
            "every address that a library writes is read as what it is"
            (Prop.forAll anyAddress (fun address -> CanonicalAddress.tryParse (string address) = Some address))

        testPropertyWithConfig
            {
                FsCheckConfig.defaultConfig with
                    maxTest = 5000
            }
            "what is read is read alike by a library that reads more"
            (Prop.forAll anyText (fun text ->
                match CanonicalAddress.tryParse text with
                | None -> true
                | Some address -> IPAddress.Parse text = address))

        for text, address in
            [
                "10.96.0.1", "10.96.0.1"
                "0.0.0.0", "0.0.0.0"
                "255.255.255.255", "255.255.255.255"
                "fd00::1", "fd00::1"
                "FD00::1", "fd00::1"
                "fd00:0:0:0:0:0:0:1", "fd00::1"
                "2001:0db8::0001", "2001:db8::1"
                "::", "::"
                "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"
                "64:ff9b::192.0.2.33", "64:ff9b::192.0.2.33"
            ] do
            test $"{text} is an address" {
                let read = CanonicalAddress.tryParse text
                Expect.equal read (Some(IPAddress.Parse address)) "read"

                let family =
                    if text.Contains ':' then
                        AddressFamily.InterNetworkV6
                    else
                        AddressFamily.InterNetwork

                Expect.equal (read |> Option.map _.AddressFamily) (Some family) "of its kind"
            }

        for text in
            [
                ""
                "127.0.0.010"
                "010.0.0.1"
                "10.00.0.1"
                "127.1"
                "2130706433"
                "0x7f.0.0.1"
                "0x7f000001"
                "10.0.0.256"
                "10.0.0.1.1"
                "10.0.0.1."
                " 10.0.0.1"
                "10.0.0.1/8"
                "10.0.0.-1"
                "10.0.0.+1"
                "१०.0.0.1"
                "fe80::1%eth0"
                "fe80::1%25eth0"
                "[fd00::1]"
                "[fd00::1]:80"
                "fd00::1/64"
                "fd00:::1"
                "fd00::1::2"
                "1:2:3:4:5:6:7"
                "1:2:3:4:5:6:7:8:9"
                "1:2:3:4:5:6:7:8::"
                "12345::"
                "g::"
                ":1"
                "1:"
                "::ffff:010.0.0.1"
                "10.0.0.1::"
            ] do
            test $"\"{text}\" is none" { Expect.isNone (parse text) "not read" }
    ]
