/// The schema of RequestClones against the program that reads them.
module K8sReq.Chart.Tests.CrdTests

open System
open System.Collections.Concurrent
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open FsCheck
open FsCheck.FSharp
open FSharp.Reflection
open K8sReq.Core
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private ofChart =
    Path.Combine(chart, "crds", "proxy.infra.doodle.com_requestclones.yaml")

let private crd = File.ReadAllText ofChart |> parse |> List.exactlyOne
let private version = items [ "spec"; "versions" ] crd |> List.exactlyOne

let private spec = at [ "schema"; "openAPIV3Schema"; "properties"; "spec" ] version

/// The fields that hold a value: their paths and schemas. The items of a list `a` are at `a[]`.
let rec private leaves (path: string list) (schema: JsonElement) : (string list * JsonElement) list =
    match tryAt [ "properties" ] schema, tryAt [ "items" ] schema with
    | Some properties, _ -> [
        for field in properties.EnumerateObject() do
            yield! leaves (path @ [ field.Name ]) field.Value
      ]
    | None, Some item -> leaves (List.updateAt (path.Length - 1) (List.last path + "[]") path) item
    | None, None -> [ path, schema ]

let private allLeaves = leaves [] spec

let private good =
    Map.ofList [
        "host", "\"hooks.example\""
        "backend.serviceName", "\"app\""
        "backend.servicePort", "\"http\""
    ]

// What fields below these paths need beside them.
let private companions = [
    "matches[].path.", [ "matches[].path.value", "/a" ]
    "matches[].headers[].", [ "matches[].headers[].name", "A"; "matches[].headers[].value", "1" ]
    "matches[].queryParams[].", [ "matches[].queryParams[].name", "a"; "matches[].queryParams[].value", "1" ]
    "filters[].requestHeaderModifier.", [ "filters[].type", "RequestHeaderModifier" ]
    for list in [ "set"; "add" ] do
        $"filters[].requestHeaderModifier.{list}[].",
        [
            $"filters[].requestHeaderModifier.{list}[].name", "A"
            $"filters[].requestHeaderModifier.{list}[].value", "1"
        ]
    "filters[].urlRewrite.", [ "filters[].type", "URLRewrite" ]
    "filters[].urlRewrite.path.replaceFullPath", [ "filters[].urlRewrite.path.type", "ReplaceFullPath" ]
    "filters[].urlRewrite.path.replacePrefixMatch", [ "filters[].urlRewrite.path.type", "ReplacePrefixMatch" ]
]

/// A spec that is valid but for this field, perhaps.
let private around (path: string) =
    (good, companions)
    ||> List.fold (fun fields (below, beside) ->
        if path.StartsWith below then
            (fields, beside)
            ||> List.fold (fun fields (path, text) -> Map.add path $"\"{text}\"" fields)
        else
            fields)

/// A spec with these fields, by their dotted paths.
let private objectOf (values: Map<string, string>) =
    let rec write (fields: (string list * string) list) =
        fields
        |> List.groupBy (fun (path, _) -> path.Head)
        |> List.map (fun (name, inner) ->
            let value =
                match inner with
                | [ [ _ ], value ] -> value
                | _ -> inner |> List.map (fun (path, value) -> path.Tail, value) |> write

            if name.EndsWith "[]" then
                $"\"{name.Substring(0, name.Length - 2)}\":[{value}]"
            else
                $"\"{name}\":{value}")
        |> String.concat ","
        |> fun body -> "{" + body + "}"

    let fields = [ for KeyValue(path, value) in values -> List.ofArray (path.Split '.'), value ]
    JsonDocument.Parse("{\"spec\":" + write fields + "}").RootElement

let private schemaOf (path: string) =
    allLeaves |> List.find (fun (leaf, _) -> String.concat "." leaf = path) |> snd

// Of Go's regular expressions those that mean the same here; but `$` is the end, never before a last line feed.
let private expressions = ConcurrentDictionary<string, Regex>()

let private matches (pattern: string) (value: string) =
    expressions
        .GetOrAdd(pattern, (fun it -> Regex(it.Replace("$", "\\z"), RegexOptions.CultureInvariant)))
        .IsMatch
        value

let private matchesClause = Regex(@"^(!?)self\.matches\(r?'(.*)'\)$")

// With the shortest, if there is one, and the longest time after it.
let private durationForm =
    "self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') && duration(self) "

let private portNumberRule =
    "type(self) == string ? !self.matches('^[0-9]+$') || (size(self) <= 5 && int(self) >= 1 && int(self) <= 65535) : true"

/// As much of CEL as the rules are written in.
let private holds (rule: string) (value: JsonElement) =
    let isText = value.ValueKind = JsonValueKind.String

    let clause (text: string) =
        let found = matchesClause.Match text

        if not found.Success then
            failtest $"a rule that this model does not know: {text}"

        // A raw literal as it is, another with its backslashes halved; the rules have none in those.
        matches found.Groups[2].Value (string (value.GetString())) = (found.Groups[1].Value = "")

    let disjunction (text: string) =
        text.Split " || " |> Array.exists clause

    let forTexts = "type(self) == string ? "

    if rule = "type(self) == int ? self >= 1 && self <= 65535 : true" then
        isText || (value.GetInt64() >= 1L && value.GetInt64() <= 65535L)
    elif rule = portNumberRule then
        let text = if isText then string (value.GetString()) else ""

        not isText
        || not (matches "^[0-9]+$" text)
        || (text.Length <= 5 && int text >= 1 && int text <= 65535)
    elif rule.StartsWith durationForm then
        let text = string (value.GetString())

        let bound (comparison: string) (byDefault: TimeSpan) =
            let found = Regex.Match(rule, $@"duration\(self\) {comparison} duration\('(\w+)'\)")

            if found.Success then
                (GoDuration.tryParse found.Groups[1].Value).Value
            else
                byDefault

        matches "^([0-9]{1,5}(h|m|s|ms)){1,4}$" text
        && GoDuration.tryParse text
           |> Option.exists (fun time ->
               time >= bound ">=" TimeSpan.Zero && time <= bound "<=" TimeSpan.MinValue)
    elif rule.StartsWith forTexts && rule.EndsWith " : true" then
        not isText
        || disjunction (rule.Substring(forTexts.Length, rule.Length - forTexts.Length - " : true".Length))
    else
        disjunction rule

/// What the schema says of a value, by a model of it that reads the file.
let private isValid (path: string) (value: JsonElement) =
    let schema = schemaOf path

    let number name =
        tryText [ name ] schema |> Option.map int64

    let isOfType =
        match value.ValueKind, tryText [ "type" ] schema with
        | JsonValueKind.String, Some "string" -> true
        | JsonValueKind.Number, Some "integer" -> fst (value.TryGetInt64())
        | JsonValueKind.String, None -> true
        | JsonValueKind.Number, None -> fst (value.TryGetInt64())
        | _ -> false

    let isWithin () =
        if value.ValueKind = JsonValueKind.String then
            let text = string (value.GetString())
            // In characters, as the API server counts.
            let length = int64 (Seq.length (text.EnumerateRunes()))

            number "minLength" |> Option.forall (fun least -> length >= least)
            && number "maxLength" |> Option.forall (fun most -> length <= most)
            && tryText [ "pattern" ] schema
               |> Option.forall (fun pattern -> matches pattern text)
            && (match items [ "enum" ] schema with
                | [] -> true
                | listed -> listed |> List.map string |> List.contains text)
        else
            number "minimum" |> Option.forall (fun least -> value.GetInt64() >= least)
            && number "maximum" |> Option.forall (fun most -> value.GetInt64() <= most)

    // What is of another type is not looked at any further.
    isOfType
    && isWithin ()
    && items [ "x-kubernetes-validations" ] schema
       |> List.forall (fun rule -> holds (text [ "rule" ] rule) value)

let private isInSchema (path: string) (value: string) =
    isValid path (JsonDocument.Parse(JsonSerializer.Serialize value).RootElement)

let private decode path (json: string) =
    Kind.readSpec CloneSpec.decoder ObjectOrigin.Cluster (objectOf (Map.add path json (around path)))

// Pieces of hosts, valid and not, that join to what people write, and to what they never should.
let private pieces = [
    "a"
    "Z"
    "-"
    "_"
    "."
    ".."
    ":"
    "::"
    "0"
    "80"
    "65535"
    "65536"
    "019080"
    "["
    "]"
    "fd00"
    "fffff"
    "g"
    "1.2.3.4"
    "256"
    "01"
    "%eth0"
    "*"
    "/"
    "?"
    "@"
    ","
    " "
    "\t"
    "\n"
    "é"
    "🎉"
    "xn--"
    "--"
    "http"
    "://"
    String('a', 15)
    String('b', 62)
    String('c', 63)
    String('d', 64)
]

let private joined: Gen<string> = gen {
    let! count = Gen.choose (0, 9)
    let! parts = Gen.listOfLength count (Gen.elements pieces)
    return String.concat "" parts
}

let private address: Gen<string> = gen {
    let! count = Gen.choose (0, 9)

    let! groups =
        Gen.listOfLength count (Gen.elements [ "0"; "1"; "fd00"; "ABCD"; ""; "1.2.3.4"; "01.2.3.4" ])

    let! before = Gen.elements [ "["; ""; "[::"; "[1::" ]
    let! after = Gen.elements [ "]"; ""; "::]"; "]:80"; "]:"; "].:65535"; "]80"; "%1]" ]
    return before + String.concat ":" groups + after
}

let private longName: Gen<string> = gen {
    let! total = Gen.choose (245, 262)
    let! ending = Gen.elements [ ""; "."; ":80"; ".:65535"; ".:"; "-" ]
    let! step = Gen.choose (55, 65)

    let name =
        String([| for n in 1..total -> if n % step = 0 && n < total then '.' else 'a' |])

    return name + ending
}

let private hosts = Gen.frequency [ 5, joined; 4, address; 1, longName ]

let private ports: Gen<string> =
    let digits = gen {
        let! zeros = Gen.choose (0, 4)
        let! number = Gen.choose (0, 70_000)
        return String('0', zeros) + string number
    }

    let name = gen {
        let! count = Gen.choose (0, 17)

        let! letters =
            Gen.listOfLength count (Gen.elements [ 'a'; 'z'; '0'; '9'; '-'; 'A'; '.' ])

        return String(Array.ofList letters)
    }

    let good = gen {
        let! count = Gen.choose (1, 16)
        let! letters = Gen.listOfLength count (Gen.elements [ 'a'; 'b'; '1'; '-' ])
        return String(Array.ofList letters)
    }

    Gen.frequency [ 2, digits; 1, name; 2, good; 1, joined ]

let private durations: Gen<string> = gen {
    let! count = Gen.choose (0, 5)

    let! numbers =
        Gen.listOfLength
            count
            (Gen.elements [ "0"; "1"; "24"; "1440"; "86400"; "99999"; "100000"; "1.5"; "-1"; "007" ])

    let! units =
        Gen.listOfLength count (Gen.elements [ "h"; "m"; "s"; "ms"; "us"; "d"; "" ])

    return List.map2 (+) numbers units |> String.concat ""
}

// Of each length about its limit, and of each ASCII character.
let private words: Gen<string> =
    let character =
        Gen.frequency [
            8, Gen.elements [ 'A'; 'Z'; 'b'; '7'; '-'; '_'; '.' ]
            1, Gen.map char (Gen.choose (0, 127))
        ]

    let short = gen {
        let! count = Gen.choose (0, 6)
        let! letters = Gen.listOfLength count character
        return String(Array.ofList letters)
    }

    let long =
        Gen.elements [ 31; 32; 33; 255; 256; 257; 1023; 1024; 1025 ]
        |> Gen.map (fun length -> String('A', length))

    Gen.frequency [ 9, short; 1, long; 1, joined ]

let private paths: Gen<string> = gen {
    let! text = words
    let! start = Gen.frequency [ 6, Gen.constant "/"; 1, Gen.constant "" ]
    return start + text
}

let private names: Gen<string> =
    Gen.frequency [
        4, words
        1,
        Gen.elements [
            "Host"
            "via"
            "TE"
            "Connection"
            "connection-a"
            "a-host"
            "Transfer-Encoding"
            "X-GitHub-Event"
            "Content-Length"
            "Upgrade"
            "Trailer"
            "keep-alive"
            "Proxy-Connection"
            "proxy-authenticate"
            "Proxy-Authorization"
        ]
    ]

// FsCheck's own writes to the console for each value, without a line's end. Expecto keeps such a line until it ends, and reads it
// with each write: thousands of values took minutes.
let private silent = {
    new IRunner with
        member _.OnStartFixture _ = ()
        member _.OnArguments(_, _, _) = ()
        member _.OnShrink(_, _) = ()

        member _.OnFinished(name, result) =
            match result with
            | TestResult.Passed _ -> ()
            | result -> failtest (Runner.onFinishedToString name result)
}

let private agrees path (values: Gen<string>) =
    testCase $"schema and program agree on {path}, whatever text is in it"
    <| fun () ->
        let mutable taken = 0

        let property (value: string) =
            let json = JsonSerializer.Serialize value
            let accepted = Result.isOk (decode path json)

            if accepted then
                taken <- taken + 1

            Expect.equal (isInSchema path value) accepted $"the schema takes {json}, as the program does"

        Check.One(
            Config.QuickThrowOnFailure.WithMaxTest(5_000).WithRunner silent,
            Prop.forAll (Arb.fromGen values) property
        )

        Expect.isGreaterThan taken 200 "a fair part of them are valid"

let tests =
    testList "CRD" [
        agrees "host" hosts
        agrees "backend.serviceName" (Gen.frequency [ 1, joined; 1, ports ])
        agrees "backend.servicePort" ports
        agrees "timeouts.backendRequest" durations
        agrees "delivery.backoffDelay" durations
        agrees "delivery.backoffMax" durations
        agrees "delivery.retryAfterMax" durations
        agrees "delivery.expireAfter" durations
        agrees "delivery.deadLetter.keep" durations
        agrees "matches[].method" words
        agrees "matches[].path.value" paths
        agrees "matches[].path.type" (Gen.elements [ "Exact"; "PathPrefix"; "Prefix"; "exact"; "" ])
        agrees "matches[].headers[].type" (Gen.elements [ "Exact"; "exact"; "RegularExpression"; "" ])
        agrees "matches[].headers[].name" names
        agrees "matches[].headers[].value" words
        agrees "matches[].queryParams[].type" (Gen.elements [ "Exact"; "exact"; "RegularExpression"; "" ])
        agrees "matches[].queryParams[].name" words
        agrees "matches[].queryParams[].value" words
        agrees "filters[].requestHeaderModifier.set[].name" names
        agrees "filters[].requestHeaderModifier.set[].value" words
        agrees "filters[].requestHeaderModifier.add[].name" names
        agrees "filters[].requestHeaderModifier.add[].value" words
        agrees "filters[].requestHeaderModifier.remove[]" names
        agrees "filters[].urlRewrite.hostname" hosts
        agrees "filters[].urlRewrite.path.replaceFullPath" paths
        agrees "filters[].urlRewrite.path.replacePrefixMatch" paths
        agrees "delivery.durability" (Gen.elements [ "Memory"; "Journal"; "journal"; "" ])
        agrees "delivery.whenFull" (Gen.elements [ "Drop"; "Refuse"; "drop"; "" ])
        agrees "delivery.backoffPolicy" (Gen.elements [ "linear"; "exponential"; "Linear"; ""; "none" ])

        test "schema and program agree on numbers" {
            for path, numbers in
                [
                    "backend.servicePort", [ -1L; 0L; 1L; 80L; 65535L; 65536L; 1_000_000_000_000L ]
                    "delivery.retry", [ -1L; 0L; 1L; 100L; 101L; 1_000_000_000_000L ]
                ] do
                for number in numbers do
                    let json = string number

                    Expect.equal
                        (isValid path (JsonDocument.Parse(json).RootElement))
                        (Result.isOk (decode path json))
                        $"{path} {number}"

                for json in [ "1.5"; "true"; "{}" ] do
                    Expect.isFalse
                        (isValid path (JsonDocument.Parse(json).RootElement))
                        $"the schema: {path} {json}"

                    Expect.isError (decode path json) $"the program: {path} {json}"
        }

        test "what is refused is refused in words" {
            for path, schema in allLeaves do
                Expect.isNone
                    (tryText [ "pattern" ] schema)
                    ("no expression is shown: " + String.concat "." path)

                for rule in items [ "x-kubernetes-validations" ] schema do
                    Expect.isSome (tryText [ "message" ] rule) ("a message: " + String.concat "." path)
        }

        test "the copy for kustomize is the chart's file" {
            Expect.equal
                (File.ReadAllText(Path.Combine(root, "deploy", "kustomize", "crd", "crd.yaml")))
                (File.ReadAllText ofChart)
                "the same"
        }

        test "group, version, names and columns are those that users know" {
            Expect.equal (text [ "spec"; "group" ] crd) RequestClone.kind.Name.Group "group"
            Expect.equal (text [ "name" ] version) RequestClone.kind.Name.Version "version"
            Expect.equal (text [ "spec"; "names"; "plural" ] crd) RequestClone.kind.Name.Plural "plural"

            Expect.equal
                (items [ "spec"; "names"; "shortNames" ] crd |> List.map string)
                [ "rc"; "reqclone" ]
                "short names"

            Expect.equal
                (items [ "additionalPrinterColumns" ] version |> List.map (text [ "name" ]))
                [ "Host"; "Backend"; "Port"; "Ready"; "Reason"; "Status"; "Age" ]
                "columns"

            Expect.equal
                (items [ "additionalPrinterColumns" ] version
                 |> List.filter (tryText [ "priority" ] >> Option.isSome)
                 |> List.map (text [ "name" ]))
                [ "Port"; "Reason"; "Status" ]
                "those that are seen with -o wide alone"

            Expect.equal
                (items [ "spec"; "names"; "categories" ] crd |> List.map string)
                [ "k8sreq" ]
                "and none of those that `kubectl delete all` finds"

            Expect.isSome (tryAt [ "subresources"; "status" ] version) "with a status"

            let conditions =
                at
                    [
                        "schema"
                        "openAPIV3Schema"
                        "properties"
                        "status"
                        "properties"
                        "conditions"
                    ]
                    version

            Expect.equal (text [ "x-kubernetes-list-type" ] conditions) "map" "conditions by type"
        }

        test "every field has a description" {
            for path, schema in allLeaves do
                Expect.isSome (tryText [ "description" ] schema) (String.concat "." path)
        }

        test
            "every field of the schema is read by the program, and every field that it reads is in the schema" {
            for path, _ in allLeaves do
                let dotted = String.concat "." path

                let isRead (fault: FieldFault) =
                    match fault with
                    | FieldFault.WrongType(field, _, _) -> field.Replace("[0]", "[]") = $"spec.{dotted}"
                    // Beside a field that is read, another one may be missing.
                    | _ -> false

                match decode dotted "[]" with
                | Error faults when List.exists isRead faults -> ()
                | result -> failtest $"{dotted} is not read: {result}"
        }

        test "the fields that a manifest may have are those of the schema" {
            let inSchema =
                allLeaves |> List.map (fun (path, _) -> "spec." + String.concat "." path)

            let known =
                JsonShape.paths CloneSpec.decoder.Shape |> List.map (fun path -> $"spec.{path}")

            let isParent (path: string) =
                inSchema
                |> List.exists (fun leaf -> leaf.StartsWith(path + ".") || leaf.StartsWith(path + "[]"))

            Expect.equal (known |> List.filter (isParent >> not) |> List.sort) (List.sort inSchema) "the same"
        }

        test "what the program accepts, the schema does" {
            let accepted = [
                "host",
                [
                    "a.example"
                    "A.Example:8080"
                    "a.example."
                    "[::1]:80"
                    "10.0.0.1"
                    "localhost"
                    "a_b.example"
                ]
                "backend.serviceName", [ "a"; "app-1"; String('a', 63); "1a" ]
                "backend.servicePort", [ ""; "http"; "80"; "65535"; "1"; "a-1"; "abcdefghijklmno" ]
                "timeouts.backendRequest", [ "1ms"; "500ms"; "1m30s"; "24h"; "1h1m1s1ms" ]
                "delivery.backoffDelay", [ "1ms"; "0h5s" ]
                "delivery.backoffMax", [ "24h"; "99999ms" ]
                "delivery.retryAfterMax", [ "0s"; "24h" ]
                "delivery.expireAfter", [ "1ms"; "8760h" ]
                "delivery.deadLetter.keep", [ "0s"; "8760h" ]
                "delivery.backoffPolicy", [ "linear"; "exponential" ]
            ]

            for path, values in accepted do
                for value in values do
                    Expect.isOk (decode path $"\"{value}\"") $"the program: {path} {value}"
                    Expect.isTrue (isInSchema path value) $"the schema: {path} {value}"
        }

        test "what the schema refuses, the program does" {
            let refused = [
                "host",
                [
                    ""
                    "fd00::1"
                    "bücher.example"
                    String('a', 64)
                    "a..b"
                    "a.example:65536"
                    "a?b"
                    "a@b"
                    "a,b"
                ]
                "backend.serviceName", [ ""; "App"; "-a"; "a_b"; String('a', 64) ]
                "backend.servicePort",
                [ " "; "HTTP"; "a_b"; "abcdefghijklmnop"; "a--b"; "019080"; "65536"; "0" ]
                "timeouts.backendRequest", [ ""; "5"; "1d"; "-1s"; "1.5s"; "100000s" ]
                "delivery.retryAfterMax", [ "24h1ms"; "-1s" ]
                "delivery.expireAfter", [ "0s"; "8760h1s" ]
                "delivery.deadLetter.keep", [ "8760h1s"; "7d" ]
                "delivery.backoffPolicy", [ "constant"; "" ]
            ]

            for path, values in refused do
                for value in values do
                    Expect.isFalse (isInSchema path value) $"the schema: {path} {value}"
                    Expect.isError (decode path $"\"{value}\"") $"the program: {path} {value}"
        }
    ]
