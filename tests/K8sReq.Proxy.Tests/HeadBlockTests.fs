module K8sReq.Proxy.Tests.HeadBlockTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.TestKit.Baseline
open K8sReq.TestKit

// Values as they are after decoding: any of Latin-1, but no line end and no NUL.
let private values =
    Gen.choose (1, 255)
    |> Gen.filter (fun c -> c <> 10 && c <> 13)
    |> Gen.map char
    |> Gen.arrayOf
    |> Gen.map String

let private lines =
    Gen.zip (Gen.elements [ "X-A"; "x-b"; "via"; "Content-Type" ]) values
    |> Gen.listOf
    |> Gen.map (fun lines -> lines @ [ "Via", "1.1 k8sreq" ])
    |> Arb.fromGen

let private render (lines: (string * string) list) =
    lines
    |> List.map (fun (name, value) -> struct (name, value))
    |> List.toArray
    |> HeadBlock.render

let private asSent lines =
    "Via: " + Encoding.Latin1.GetString(HeadBlock.encoding.GetBytes(render lines))

let private isVia (name: string, _: string) =
    name.Equals("Via", StringComparison.OrdinalIgnoreCase)

let tests =
    testList "HeadBlock" [
        test "each line is sent as it was written, duplicates on lines of their own" {
            Expect.equal
                (asSent [
                    "x-a", "1"
                    "Via", "1.0 b"
                    "X-A", "2"
                    "Content-Type", "a/b"
                    "Via", "1.1 k8sreq"
                ])
                "Via: 1.0 b\r\nx-a: 1\r\nX-A: 2\r\nContent-Type: a/b\r\nVia: 1.1 k8sreq"
                "in order, the first Via before all"
        }

        testProperty
            "what is sent has exactly the lines that were given"
            (Prop.forAll lines (fun given ->
                let sent =
                    (asSent given).Split "\r\n"
                    |> Array.map (fun line ->
                        let colon = line.IndexOf ": "
                        line.Substring(0, colon), line.Substring(colon + 2))
                    |> List.ofArray

                let vias = given |> List.filter isVia
                let others = given |> List.filter (isVia >> not)

                (sent |> List.filter (isVia >> not)) = others
                && (sent |> List.filter isVia |> List.map snd) = (vias |> List.map snd)))

        testProperty
            "no value of single bytes can end a line"
            (Prop.forAll (Arb.fromGen values) (fun value ->
                HeadBlock.encoding.GetBytes value
                |> Array.forall (fun b -> b <> 10uy && b <> 13uy)))

        test "a character beyond single bytes is no line end either" {
            let bytes = HeadBlock.encoding.GetBytes "\u010D\u010A\u560D\u560A"
            Expect.equal bytes "????"B "replaced"
        }

        test "both ways of encoding agree" {
            let text = render [ "a", "é"; "Via", "x" ]
            let viaSpan = Array.zeroCreate (HeadBlock.encoding.GetMaxByteCount text.Length)
            let count = HeadBlock.encoding.GetBytes(text.AsSpan(), viaSpan.AsSpan())
            let viaArray = HeadBlock.encoding.GetBytes(text.ToCharArray())
            Expect.equal viaSpan[.. count - 1] viaArray "the same bytes"
            Expect.equal (HeadBlock.encoding.GetString [| 97uy; 233uy |]) "a\u00e9" "Latin-1 is read back"
        }
    ]
