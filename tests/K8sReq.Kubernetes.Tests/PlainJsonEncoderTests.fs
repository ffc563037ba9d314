module K8sReq.Kubernetes.Tests.PlainJsonEncoderTests

open System.Text.Json
open System.Text.Json.Nodes
open Expecto
open FsCheck.FSharp
open K8sReq.Kubernetes
open K8sReq.TestKit

let private options = JsonSerializerOptions(Encoder = PlainJsonEncoder.Instance)

let private write (text: string) =
    (nonNull (JsonValue.Create text)).ToJsonString options

let private read (json: string) =
    (nonNull (JsonNode.Parse json)).GetValue<string>()

let tests =
    testList "PlainJsonEncoder" [
        test "only what has to be escaped is" {
            for text, expected in
                [
                    "plain", "\"plain\""
                    "\U0001F389.example", "\"\U0001F389.example\""
                    "gr\u00fc\u00dfe & <b> '+' `", "\"gr\u00fc\u00dfe & <b> '+' `\""
                    "\"\\/", "\"\\\"\\\\/\""
                    "\n\u0001\127", "\"\\u000a\\u0001\\u007f\""
                ] do
                Expect.equal (write text) expected "as JSON"
                Expect.equal (read (write text)) text "and back"
        }

        test "half of a surrogate pair becomes the replacement character" {
            for text, expected in
                [ "\uD83C", "\uFFFD"; "a\uDF89b", "a\uFFFDb"; "\uDF89\uD83C", "\uFFFD\uFFFD" ] do
                Expect.equal (read (write text)) expected "still JSON"
        }

        testProperty "any text comes back"
        <| fun (text: FsCheck.UnicodeString) ->
            // What is no Unicode is replaced.
            let expected =
                System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes text.Get)

            read (write text.Get) = expected
    ]
