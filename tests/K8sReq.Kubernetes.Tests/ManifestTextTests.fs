module K8sReq.Kubernetes.Tests.ManifestTextTests

open System.Text.Json
open System
open Expecto
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

let private yaml text = ManifestYaml.parse text
let private json text = ManifestText.parseJson text

let private documents result =
    match result with
    | Ok(documents: ManifestText.Document list) ->
        documents |> List.map (fun d -> d.Line, d.Root.GetRawText())
    | Error(error: ManifestText.TextError) -> failtest $"{error}"

let private lineOf result =
    match result with
    | Ok(_: ManifestText.Document list) -> failtest "parsed"
    | Error(error: ManifestText.TextError) ->
        Expect.isNotEmpty error.Reason "a reason"
        error.Line

let private becomes (text, expected) = test $"{text} is {expected}" {
    Expect.equal (documents (yaml $"a: {text}")) [ 1, $"""{{"a":{expected}}}""" ] "as JSON"
}

let tests =
    testList "ManifestText" [
        testList
            "scalars are what kubectl takes them for"
            ([
                "80", "80"
                "\"80\"", "\"80\""
                "'80'", "\"80\""
                "!!str 80", "\"80\""
                "true", "true"
                "yes", "true"
                "Off", "false"
                "\"yes\"", "\"yes\""
                "", "null"
                "~", "null"
                "1.5", "1.5"
                "-3", "-3"
                "10.0.0.1", "\"10.0.0.1\""
                "http", "\"http\""
                "2026-01-01", "\"2026-01-01\""
                "{b: [1, x]}", """{"b":[1,"x"]}"""
                // As the API server's reader has them.
                "0100", "64"
                "0o17", "15"
                "0x1F", "31"
                "-0b11", "-3"
                "1_000", "1000"
                "0", "0"
                "09", "9"
             ]
             |> List.map becomes)

        test "several documents, each with its line; empty ones are left out" {
            Expect.equal
                (documents (yaml "# comment\na: 1\n---\n---\n# nothing\n---\n\nb: 2\n...\n"))
                [ 2, """{"a":1}"""; 8, """{"b":2}""" ]
                "two"
        }

        test "an empty file has no documents" {
            Expect.isEmpty (documents (yaml "")) "YAML"
            Expect.isEmpty (documents (yaml "# only a comment\n")) "a comment"
            Expect.isEmpty (documents (json " \n")) "JSON"
        }

        test "anchors, aliases and merge keys" {
            Expect.equal
                (documents (yaml "base: &b {x: 1}\nsame: *b\nmore: {<<: *b, y: 2}\n"))
                [ 1, """{"base":{"x":1},"same":{"x":1},"more":{"y":2,"x":1}}""" ]
                "resolved"
        }

        test "an own key wins over one that is merged, wherever it stands" {
            Expect.equal
                (documents (yaml "a: &a {x: 1, y: 1}\nb: &b {z: 3}\nc:\n  <<: [*a, *b]\n  x: 2\n"))
                [ 1, """{"a":{"x":1,"y":1},"b":{"z":3},"c":{"x":2,"y":1,"z":3}}""" ]
                "as kubectl reads it"
        }

        test "what a few bytes can stand for is bounded, whatever they are" {
            let refused name text =
                match yaml text with
                | Error error -> Expect.isNotEmpty error.Reason name
                | Ok _ -> failtest $"{name} was taken"

            let aliases = String.replicate 3000 "*a,"
            refused "a text, three thousand times" $"a: &a {String('x', 1_000_000)}\nb: [{aliases}]\n"

            let nested =
                "a0: &a0 {x: 1}\n"
                + String.concat "" [
                    for n in 1..40 -> $"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}\n"
                ]

            refused "merges in merges" nested

            let keys =
                "a0: &a0 [x]\n"
                + String.concat "" [ for n in 1..40 -> $"a{n}: &a{n} {{? [*a{n - 1}, *a{n - 1}] : 1}}\n" ]

            refused "lists as keys" keys
        }

        test "a key twice in a JSON object is a fault, and where it is" {
            Expect.equal (lineOf (json "{}\n{\"a\":1,\n\"a\":2}")) 2 "the document's line"
        }

        test "half of a surrogate pair in a property's name is a fault, and where it is" {
            Expect.equal (lineOf (json "{}\n{\"\\udf89\":1}")) 2 "the document's line"
        }

        test "a faulty YAML file names the line" {
            Expect.equal (lineOf (yaml "a: 1\nb: [1, 2\nc: 3\n")) 3 "where the list was not closed"
            Expect.equal (lineOf (yaml "a: 1\nb: c: d\n")) 2 "a mapping within a line"
            Expect.equal (lineOf (yaml "a: 1\nb: 2\na: 3\n")) 3 "a key twice"

            // The parser names no place for this one: it is known only once the document has been read.
            match yaml "a: 1\n---\nb: *nobody\n" with
            | Error error -> Expect.stringContains error.Reason "nobody" "an alias of nothing"
            | Ok _ -> failtest "parsed"
        }

        test "aliases that stand for too much are refused" {
            let level n =
                let items = String.replicate 10 $"*l{n - 1}, "
                $"l{n}: &l{n} [{items}]\n"

            let bomb = "l0: &l0 [x]\n" + String.concat "" (List.map level [ 1..9 ])
            lineOf (yaml bomb) |> ignore
        }

        test "what merges itself, or what is no mapping, is refused" {
            for text in
                [
                    "a: &a\n  <<: *a\n  x: 1\n"
                    "a: &a\n  b: &b\n    <<: *a\n  <<: *b\n"
                    "a: {<<: &s [*s]}\n"
                    "b: &b {x: 1}\na: {<<: [[*b]]}\n"
                    "a: {<<: 1}\n"
                ] do
                Expect.isError (yaml text) text
        }

        test "merges of merges of merges are found once each" {
            let level n =
                let merged = String.replicate 10 $"*l{n - 1}, "
                $"l{n}: &l{n} {{<<: [{merged}]}}\n"

            let text = "l0: &l0 {a: 1}\n" + String.concat "" (List.map level [ 1..30 ])
            Expect.isOk (yaml text) "each level is what the first one is"
        }

        test "many JSON documents cost what their length is" {
            let cost count =
                let text = String.replicate count "{\"a\": 1}\n\n"

                let parsed () =
                    let before = GC.GetAllocatedBytesForCurrentThread()
                    let found = documents (ManifestText.parseJson text)
                    Expect.equal (fst (List.last found)) (2 * count - 1) "the line of the last one"
                    GC.GetAllocatedBytesForCurrentThread() - before

                parsed () |> ignore
                float (parsed ())

            Expect.isLessThan (cost 20000 / cost 10000) 2.5 "twice as many, about twice as much"
        }

        test "nodes that are written out are no aliases, however many there are" {
            let written = "all: [" + String.replicate 500 "a, " + "]\n"
            Expect.isOk (ManifestYaml.parseWithin 10 written) "500, where aliases may stand for 10"
            let aliases = "x: &x [" + String.replicate 500 "a," + "]\n"
            let many = aliases + "y: [" + String.replicate 50 "*x," + "]\n"
            Expect.isError (ManifestYaml.parseWithin 10 many) "25,000 by aliases"
        }

        test "a document that is nested too deeply is refused" {
            let nested n =
                "a: " + String.replicate n "[" + String.replicate n "]"

            documents (yaml (nested 60)) |> ignore
            Expect.equal (lineOf (yaml ("b: 1\n" + nested 100))) 2 "too deep for JSON"
            Expect.equal (lineOf (yaml ("b: 1\n" + nested 200_000))) 2 "deep enough to overflow the stack"
            Expect.equal (lineOf (json (String.replicate 200_000 "["))) 1 "as JSON"
            let levels = [ for n in 1..70 -> $"l{n}: &l{n} [*l{n - 1}]\n" ] |> String.concat ""
            lineOf (yaml ("l0: &l0 x\n" + levels)) |> ignore
        }

        test "JSON, one document after the other" {
            Expect.equal
                (documents (json "{\"a\": 1}\n\n{\"b\":\n\t[2]}"))
                [ 1, "{\"a\": 1}"; 3, "{\"b\":\n\t[2]}" ]
                "two"
        }

        test "a faulty JSON file names the line" {
            Expect.equal (lineOf (json "{\n  \"a\": 1,\n  b\n}")) 3 "in the first document"
            Expect.equal (lineOf (json "{}\n{\n\"a\": }")) 3 "in the second"
            Expect.equal (lineOf (json "{\"a\":")) 1 "cut short"
        }

        testProperty "no text makes it throw" (fun (text: string | null) ->
            yaml (string text) |> ignore
            json (string text) |> ignore
            yaml $"a: {text}\n  - {text}" |> ignore)
    ]
