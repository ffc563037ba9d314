/// What a RequestClone's `filters` make of its copies.
module K8sReq.Core.Tests.HeadEditTests

open System
open System.Buffers
open System.Text
open System.Text.Json
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core

let private read (matches: string) (filters: string) =
    use document =
        JsonDocument.Parse(
            """{"spec":{"host":"a.example","backend":{"serviceName":"app","servicePort":"http"},"""
            + $"\"matches\":{matches},\"filters\":{filters}}}}}"
        )

    Kind.readSpec CloneSpec.decoder ObjectOrigin.Manifest (document.RootElement.Clone())

/// The same bytes in pieces of so many.
let private inPieces (size: int) (request: CapturedRequest) : CapturedRequest =
    let pieces =
        request.Wire.ToArray()
        |> Array.chunkBySize size
        |> Array.map (fun piece -> ByteSegment(ReadOnlyMemory piece))

    for index in 1 .. pieces.Length - 1 do
        pieces[index - 1].Follow pieces[index]

    let last = Array.last pieces

    {
        request with
            Wire = ReadOnlySequence(pieces[0], 0, last, last.Memory.Length)
    }

let private applied (matches: string) (filters: string) (request: CapturedRequest) : CapturedRequest =
    match read matches filters with
    | Ok spec ->
        let change =
            HeadEdit.changeOf (Array.ofList spec.Matches) (HeadEdit.ofFilters spec.Filters) request

        CapturedRequest.withHead change request
    | Error faults -> failtest (FieldFault.describeAll faults)

let private rewrite (path: string) =
    $$$"""[{"type":"URLRewrite","urlRewrite":{"path":{{{path}}}}}]"""

let private targetAfter matches filters target =
    Requests.create target [||] [||]
    |> applied matches filters
    |> CapturedRequest.target

let private names = [ "A"; "a"; "B"; "b-c"; "X-Long" ]

let private line: Gen<HeaderLine> =
    Gen.zip (Gen.elements names) (Gen.elements [ "1"; "2"; "x: y"; "" ])
    |> Gen.map (fun (name, value) -> struct (name, value))

let private filter: Gen<CopyFilter> = gen {
    let! set = Gen.listOf line
    let! added = Gen.listOf line
    let! removed = Gen.listOf (Gen.elements names)
    return CopyFilter.Headers(List.truncate 3 set, List.truncate 3 added, List.truncate 2 removed)
}

// One change after the other, to a list.
let private modelOf (lines: HeaderLine list) (filters: CopyFilter list) : HeaderLine list =
    let without (name: string) =
        List.filter (fun (struct (known: string, _)) ->
            not (known.Equals(name, StringComparison.OrdinalIgnoreCase)))

    let apply lines filter =
        match filter with
        | CopyFilter.Rewrite _ -> lines
        | CopyFilter.Headers(set, added, removed) ->
            let lines =
                (lines, set)
                ||> List.fold (fun lines (struct (name, value)) ->
                    without name lines @ [ struct (name, value) ])

            let lines = lines @ added
            (lines, removed) ||> List.fold (fun lines name -> without name lines)

    List.fold apply lines filters

// In the order of each name: what the order of different names is means nothing (RFC 9110 section 5.3).
let private byName (lines: HeaderLine seq) =
    lines
    |> Seq.map (fun (struct (name, value)) -> name.ToLowerInvariant(), value)
    |> Seq.groupBy fst
    |> Seq.map (fun (name, values) -> name, values |> Seq.map snd |> List.ofSeq)
    |> Map.ofSeq

let tests =
    testList "filters" [
        test "none leaves a request what it is" {
            let request = Requests.create "/" [| struct ("A", "1") |] "body"B
            Expect.isTrue (obj.ReferenceEquals(applied "[]" "[]" request, request)) "the same"

            let changesNothing =
                """[{"type":"RequestHeaderModifier","requestHeaderModifier":{}}]"""

            Expect.isTrue
                (obj.ReferenceEquals(applied "[]" changesNothing request, request))
                "nor does one that changes nothing"
        }

        test "headers are set, added and removed; all else stays, byte for byte" {
            let request =
                Requests.create
                    "/a?b"
                    [|
                        struct ("X-Env", "prod")
                        struct ("x-env", "old")
                        struct ("Authorization", "secret")
                        struct ("X-Tag", "b")
                        struct ("X-Authorization", "kept")
                        struct ("Via", "1.1 k8sreq")
                    |]
                    "X-Env: in the body\r\n\r\n"B

            let filters =
                """[{"type":"RequestHeaderModifier","requestHeaderModifier":{"set":[{"name":"X-Env","value":"ci"}],"add":[{"name":"X-Tag","value":"a"}],"remove":["authorization"]}}]"""

            let expected =
                "POST /a?b HTTP/1.1\r\nHost: A.example:80\r\nX-Tag: b\r\nX-Authorization: kept\r\nVia: 1.1 k8sreq\r\nContent-Length: 22\r\nX-Env: ci\r\nX-Tag: a\r\n\r\nX-Env: in the body\r\n\r\n"

            let changed = applied "[]" filters request
            Expect.equal (Requests.textOf changed) expected "the copy"

            Expect.equal
                (Requests.textOf (
                    CapturedRequest.withHead (HeadChange.adding [| struct ("Z", "1") |]) changed
                ))
                (expected.Replace("X-Tag: a\r\n", "X-Tag: a\r\nZ: 1\r\n"))
                "which can have further fields"

            Expect.stringContains
                (Requests.textOf request)
                "Authorization: secret"
                "and the request is what it was"
        }

        test "the host and the path are rewritten, and the query stays" {
            let filters =
                """[{"type":"URLRewrite","urlRewrite":{"hostname":"ci.internal","path":{"type":"ReplaceFullPath","replaceFullPath":"/new"}}}]"""

            let request =
                Requests.create "/old/x?q=1?2" [| struct ("X-Host", "Host: no") |] "b"B

            Expect.equal
                (Requests.textOf (applied "[]" filters request))
                "POST /new?q=1?2 HTTP/1.1\r\nHost: ci.internal\r\nX-Host: Host: no\r\nContent-Length: 1\r\n\r\nb"
                "both"
        }

        test "a change after another keeps what it does not touch of it" {
            let first = {
                Target = "/new"
                Host = "ci.internal"
                Removed = [| "A" |]
                Added = [| struct ("B", "1"); struct ("C", "1") |]
            }

            let request = Requests.create "/old" [| struct ("a", "0"); struct ("c", "0") |] [||]

            let after next =
                Requests.textOf (CapturedRequest.withHead (HeadChange.andThen next first) request)

            Expect.equal
                (after (HeadChange.setting [| struct ("c", "2") |]))
                "POST /new HTTP/1.1\r\nHost: ci.internal\r\nContent-Length: 0\r\nB: 1\r\nc: 2\r\n\r\n"
                "target, host and the other field"

            Expect.equal
                (after {
                    HeadChange.none with
                        Target = "/last"
                        Host = "b.internal"
                })
                "POST /last HTTP/1.1\r\nHost: b.internal\r\nc: 0\r\nContent-Length: 0\r\nB: 1\r\nC: 1\r\n\r\n"
                "the later ones count"
        }

        test "the prefix that was matched is replaced" {
            for target, prefix, replacement, expected in
                [
                    "/foo/bar", "/foo", "/xyz", "/xyz/bar"
                    "/foo/bar", "/foo", "/xyz/", "/xyz/bar"
                    "/foo/bar", "/foo/", "/xyz", "/xyz/bar"
                    "/foo/bar", "/foo/", "/xyz/", "/xyz/bar"
                    "/foo", "/foo", "/xyz", "/xyz"
                    "/foo/", "/foo", "/xyz", "/xyz/"
                    "/foo/bar", "/foo", "", "/bar"
                    "/foo/", "/foo", "", "/"
                    "/foo", "/foo", "", "/"
                    "/foo/", "/foo", "/", "/"
                    "/foo", "/foo", "/", "/"
                    "/foo?a=/foo", "/foo", "/x", "/x?a=/foo"
                    "/foo/foo/", "/foo", "/x", "/x/foo/"
                    "/a/b", "/", "/x", "/x/a/b"
                    "/", "/", "/x", "/x/"
                    // It is matched no more, since its RequestClone has changed.
                    "/foot", "/foo", "/x", "/foot"
                    "*", "/", "/x", "*"
                ] do
                let matches = $$$"""[{"path":{"value":"{{{prefix}}}"}}]"""

                let filters =
                    rewrite $$$"""{"type":"ReplacePrefixMatch","replacePrefixMatch":"{{{replacement}}}"}"""

                Expect.equal (targetAfter matches filters target) expected $"{target} {prefix} {replacement}"
        }

        test "of several matches the first that means the request says which prefix" {
            let matches =
                """[{"path":{"value":"/a/b"},"headers":[{"name":"X","value":"1"}]},{"path":{"value":"/a"}},{"method":"GET"}]"""

            let filters = rewrite """{"type":"ReplacePrefixMatch","replacePrefixMatch":"/z"}"""

            let after target lines =
                Requests.create target lines [||]
                |> applied matches filters
                |> CapturedRequest.target

            Expect.equal (after "/a/b/c" [| struct ("x", "1") |]) "/z/c" "the first"
            Expect.equal (after "/a/b/c" [||]) "/z/b/c" "the second"
            Expect.equal (after "/q" [||]) "/q" "none"

            Expect.equal
                (targetAfter "[]" filters "/q")
                "/z/q"
                "without matches, every path is below the root"
        }

        testPropertyWithConfig
            {
                FsCheckConfig.defaultConfig with
                    maxTest = 500
            }
            "whatever headers there are, they come to what one change after the other makes of them"
            (Prop.forAll
                (Arb.fromGen (Gen.zip3 (Gen.listOf line) (Gen.listOf filter) (Gen.choose (1, 300))))
                (fun (lines, filters, size) ->
                    let filters = List.truncate 3 filters
                    let body = "A: 1\r\n\r\n"B

                    let request = Requests.create "/" (Array.ofList lines) body |> inPieces size

                    let changed =
                        CapturedRequest.withHead
                            (HeadEdit.changeOf [||] (HeadEdit.ofFilters filters) request)
                            request

                    let kept (struct (name, _)) =
                        name <> "Host" && name <> "Content-Length"

                    let head = CapturedRequest.head changed

                    Expect.equal
                        (head.Lines |> Seq.filter kept |> byName)
                        (modelOf lines filters |> byName)
                        "the headers"

                    Expect.equal
                        (changed.Wire.Slice(changed.FieldsEnd).ToArray())
                        (Array.append "\r\n"B body)
                        "the body follows the head"))

        test "a long body is not copied" {
            let request = Requests.create "/" [| struct ("A", "1") |] (Array.create 100_000 1uy)

            let filters =
                """[{"type":"RequestHeaderModifier","requestHeaderModifier":{"remove":["A"]}}]"""

            let before = GC.GetAllocatedBytesForCurrentThread()
            let changed = applied "[]" filters request

            Expect.isLessThan (GC.GetAllocatedBytesForCurrentThread() - before) 50_000L "its memory"

            Expect.equal
                (changed.Wire.ToArray())
                (request.Wire.ToArray()
                 |> Encoding.Latin1.GetString
                 |> _.Replace("A: 1\r\n", "")
                 |> Encoding.Latin1.GetBytes)
                "the rest as it was"
        }

        test "what cannot be filtered is a fault" {
            let faultsOf matches filters =
                match read matches filters with
                | Ok spec -> failtest $"{filters}: {spec}"
                | Error faults -> FieldFault.describeAll faults

            for filters, expected in
                [
                    "[{}]", "spec.filters[0].type is missing"
                    """[{"type":"Mirror"}]""", "RequestHeaderModifier or URLRewrite"
                    """[{"type":"URLRewrite"}]""", "spec.filters[0].urlRewrite is missing"
                    """[{"type":"RequestHeaderModifier"}]""",
                    "spec.filters[0].requestHeaderModifier is missing"
                    """[{"type":"URLRewrite","urlRewrite":{},"requestHeaderModifier":{}}]""",
                    "spec.filters[0].type is \"URLRewrite\""
                    """[{"type":"URLRewrite","urlRewrite":{}},{"type":"URLRewrite","urlRewrite":{}}]""",
                    "spec.filters is \"2 of type URLRewrite\""
                    """[{"type":"URLRewrite","urlRewrite":{"hostname":"A.example"}}]""",
                    "spec.filters[0].urlRewrite.hostname"
                    rewrite """{"type":"ReplaceFullPath"}""",
                    "spec.filters[0].urlRewrite.path.replaceFullPath is missing"
                    rewrite """{"type":"ReplacePrefixMatch","replaceFullPath":"/"}""",
                    "spec.filters[0].urlRewrite.path.replacePrefixMatch is missing"
                    rewrite """{"type":"ReplaceFullPath","replaceFullPath":"/","replacePrefixMatch":"/"}""",
                    "spec.filters[0].urlRewrite.path.type"
                    rewrite """{"type":"ReplaceFullPath","replaceFullPath":"a"}""",
                    "spec.filters[0].urlRewrite.path.replaceFullPath is \"a\""
                    """[{"type":"RequestHeaderModifier","requestHeaderModifier":{"set":[{"name":"hOST","value":"a"}]}}]""",
                    "spec.filters[0].requestHeaderModifier.set[0].name"
                    """[{"type":"RequestHeaderModifier","requestHeaderModifier":{"add":[{"name":"A","value":"a\r\nB: c"}]}}]""",
                    "spec.filters[0].requestHeaderModifier.add[0].value"
                    """[{"type":"RequestHeaderModifier","requestHeaderModifier":{"remove":["via"],"replace":1}}]""",
                    "unknown field spec.filters[0].requestHeaderModifier.replace"
                ] do
                Expect.stringContains (faultsOf "[]" filters) expected filters

            Expect.stringContains
                (faultsOf
                    """[{"path":{"value":"/a"}},{"path":{"type":"Exact","value":"/b"}}]"""
                    (rewrite """{"type":"ReplacePrefixMatch","replacePrefixMatch":"/"}"""))
                "spec.matches[1].path.type is \"Exact\", but must be PathPrefix where a filter has replacePrefixMatch"
                "a prefix without one"
        }
    ]
