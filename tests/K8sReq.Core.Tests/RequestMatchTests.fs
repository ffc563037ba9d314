/// Which requests a RequestClone's `matches` mean.
module K8sReq.Core.Tests.RequestMatchTests

open System
open System.Text.Json
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private read (matches: string) =
    use document =
        JsonDocument.Parse(
            """{"spec":{"host":"a.example","backend":{"serviceName":"app","servicePort":"http"},"""
            + $"\"matches\":{matches}}}}}"
        )

    Kind.readSpec CloneSpec.decoder ObjectOrigin.Manifest (document.RootElement.Clone())

let private matchesOf (text: string) : RequestMatch[] =
    match read text with
    | Ok spec -> Array.ofList spec.Matches
    | Error faults -> failtest (FieldFault.describeAll faults)

let private head (method: string) (target: string) (lines: (string * string) list) : RequestHead =
    RequestHead.create method target "a.example" false [| for name, value in lines -> struct (name, value) |]

let private isMeant (matches: string) (request: RequestHead) =
    RequestMatch.isAnyMet request (matchesOf matches)

let private path (pathType: string) (value: string) =
    $$$"""[{"path":{"type":"{{{pathType}}}","value":"{{{value}}}"}}]"""

let private decided (name: string) (matches: string) (cases: (RequestHead * bool) list) = test name {
    for request, expected in cases do
        Expect.equal
            (isMeant matches request)
            expected
            $"{request.Method} {request.Target} %A{List.ofArray request.Lines}"
}

let private get (target: string) = head "GET" target []

let private withFields (lines: (string * string) list) = head "GET" "/" lines

let tests =
    testList "matches" [
        decided "none means every request" "[]" [ get "/", true; head "OPTIONS" "*" [], true ]
        decided "an empty one means every request" "[{}]" [ get "/a?b", true; head "OPTIONS" "*" [], true ]

        decided "a method, as it is spelled" """[{"method":"POST"}]""" [
            head "POST" "/" [], true
            get "/", false
            head "post" "/" [], false
            head "POSTS" "/" [], false
        ]

        decided "an exact path, without the query" (path "Exact" "/a/b") [
            get "/a/b", true
            get "/a/b?c=/d", true
            get "/a/b?", true
            get "/a/b/", false
            get "/A/b", false
            get "/a/b/c", false
            get "/a", false
            get "http://a.example/a/b?c", true
            get "http://a.example/a", false
            get "/a%2Fb", false
            get "/a/%62", false
            get "/x?/a/b", false
        ]

        decided "a prefix, element by element" (path "PathPrefix" "/gh") [
            get "/gh", true
            get "/gh/", true
            get "/gh/x/y", true
            get "/gh?x", true
            get "/ghost", false
            get "/g", false
            get "/GH", false
            get "/gh%2Fx", false
            get "/x/gh", false
            get "//gh", false
            get "http://a.example/gh/x", true
            get "http://a.example?/gh", false
        ]

        decided "a slash at the end of a prefix makes no difference" (path "PathPrefix" "/gh/") [
            get "/gh", true
            get "/gh/x", true
            get "/ghost", false
        ]

        decided "the prefix / means every path, and the target * is none" """[{"path":{"value":"/"}}]""" [
            get "/", true
            get "/a/b?c", true
            get "http://a.example", true
            head "OPTIONS" "*" [], false
        ]

        decided
            "headers: names in any case, values as they are, several lines as one value"
            """[{"headers":[{"name":"X-Event","value":"push"}]}]"""
            [
                withFields [ "X-Event", "push" ], true
                withFields [ "x-event", "push" ], true
                withFields [ "X-Event", "Push" ], false
                withFields [ "X-Events", "push" ], false
                withFields [ "X-Event", "push"; "X-Event", "ping" ], false
                withFields [], false
            ]

        decided
            "a header that comes twice has its values joined with commas"
            """[{"headers":[{"type":"Exact","name":"A","value":"1,2"}]}]"""
            [
                withFields [ "a", "1"; "b", "0"; "A", "2" ], true
                withFields [ "A", "1,2" ], true
                withFields [ "A", "2"; "A", "1" ], false
            ]

        decided
            "query parameters: as they are sent, the first of a name"
            """[{"queryParams":[{"name":"env","value":"a%20b"}]}]"""
            [
                get "/?env=a%20b", true
                get "/x?a=1&env=a%20b&c", true
                get "/?env=a+b", false
                get "/?Env=a%20b", false
                get "/?env=x&env=a%20b", false
                get "/?env=a%20b&env=x", true
                get "/?envs=a%20b", false
                get "/?x=env=a%20b", false
                get "/?env", false
                get "/?", false
                get "/env=a%20b", false
                get "/?&&env=a%20b", true
                get "http://a.example?env=a%20b", true
            ]

        decided "a value may have an equals sign" """[{"queryParams":[{"name":"a","value":"b=c"}]}]""" [
            get "/?a=b=c", true
            get "/?a=b", false
        ]

        decided
            "any of the list, all of one"
            """[{"method":"POST","path":{"value":"/a"},"headers":[{"name":"X","value":"1"},{"name":"Y","value":"2"}]},{"path":{"value":"/b"},"queryParams":[{"name":"q","value":"1"},{"name":"r","value":"2"}]}]"""
            [
                head "POST" "/a/x" [ "X", "1"; "Y", "2" ], true
                head "GET" "/a/x" [ "X", "1"; "Y", "2" ], false
                head "POST" "/c" [ "X", "1"; "Y", "2" ], false
                head "POST" "/a" [ "X", "1" ], false
                get "/b?r=2&q=1", true
                get "/b?q=1", false
                get "/a?q=1&r=2", false
            ]

        property
            "a prefix means what its elements say"
            (let elements = Gen.listOf (Gen.elements [ "a"; "b"; "ab"; "" ])

             Prop.forAll (Arb.fromGen (Gen.zip elements elements)) (fun (prefix, path) ->
                 let text (elements: string list) = "/" + String.concat "/" elements
                 // Elements at the end that are empty are a slash there.
                 let prefixText = (text prefix).TrimEnd '/'
                 let given = if prefixText = "" then "/" else prefixText
                 let split (text: string) = text.Split '/' |> List.ofArray
                 let wanted = if prefixText = "" then [ "" ] else split prefixText

                 let expected =
                     let there = split (text path)
                     there.Length >= wanted.Length && List.take wanted.Length there = wanted

                 isMeant $$$"""[{"path":{"value":"{{{given}}}"}}]""" (get (text path)) = expected))

        test "what cannot be matched is a fault, each of them" {
            let long = String('a', 1025)

            match
                read
                    $$$"""[{"method":"post","path":{"type":"Regex","value":"a b"}},{"path":{}},{"headers":[{"name":"a b","value":""}],"queryParams":[{"type":"X","name":"a=b","value":"{{{long}}}"}],"paths":1}]"""
            with
            | Ok spec -> failtest $"{spec}"
            | Error faults ->
                Expect.equal
                    (faults
                     |> List.map (fun fault ->
                         match fault with
                         | FieldFault.Missing field -> $"{field} is missing"
                         | FieldFault.BadValue(field, _, _) -> field
                         | FieldFault.Unknown(field, _) -> $"{field} is not known"
                         | FieldFault.WrongType(field, _, _) -> $"{field} is of another type")
                     |> List.sort)
                    [
                        "spec.matches[0].method"
                        "spec.matches[0].path.type"
                        "spec.matches[0].path.value"
                        "spec.matches[1].path.value is missing"
                        "spec.matches[2].headers[0].name"
                        "spec.matches[2].headers[0].value"
                        "spec.matches[2].paths is not known"
                        "spec.matches[2].queryParams[0].name"
                        "spec.matches[2].queryParams[0].type"
                        "spec.matches[2].queryParams[0].value"
                    ]
                    (FieldFault.describeAll faults)
        }

        test "64 of them, and 16 headers and parameters of one, are the most" {
            let list count (item: string) =
                List.replicate count item |> String.concat "," |> sprintf "[%s]"

            let fields count =
                list count """{"name":"a","value":"1"}"""

            Expect.isOk (read (list 64 "{}")) "64"
            Expect.isError (read (list 65 "{}")) "65"

            for field in [ "headers"; "queryParams" ] do
                Expect.isOk (read $$$"""[{"{{{field}}}":{{{fields 16}}}}]""") $"16 {field}"
                Expect.isError (read $$$"""[{"{{{field}}}":{{{fields 17}}}}]""") $"17 {field}"
        }

        test "they are described in a line each" {
            let described text =
                matchesOf text |> Array.map RequestMatch.describe |> List.ofArray

            Expect.equal
                (described
                    """[{},{"method":"POST","path":{"value":"/a/"},"headers":[{"name":"X","value":"1"}]},{"path":{"type":"Exact","value":"/b"},"queryParams":[{"name":"q","value":"2"}]},{"path":{"value":"/"}}]""")
                [ "every request"; "POST /a and below, X: 1"; "/b, ?q=2"; "/ and below" ]
                "the four"
        }
    ]
