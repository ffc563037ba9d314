/// The schema of RequestClones against the program that reads them.
module K8sReq.Chart.Tests.CrdTests

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open FSharp.Reflection
open K8sReq.Core
open K8sReq.Host.Sources
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private ofChart =
    Path.Combine(chart, "crds", "proxy.infra.doodle.com_requestclones.yaml")

let private crd = File.ReadAllText ofChart |> parse |> List.exactlyOne
let private version = items [ "spec"; "versions" ] crd |> List.exactlyOne

let private spec = at [ "schema"; "openAPIV3Schema"; "properties"; "spec" ] version

/// The fields that hold a value: their paths and schemas.
let rec private leaves (path: string list) (schema: JsonElement) : (string list * JsonElement) list =
    match tryAt [ "properties" ] schema with
    | Some properties -> [
        for field in properties.EnumerateObject() do
            yield! leaves (path @ [ field.Name ]) field.Value
      ]
    | None -> [ path, schema ]

let private allLeaves = leaves [] spec

let private good =
    Map.ofList [
        "host", "\"hooks.example\""
        "backend.serviceName", "\"app\""
        "backend.servicePort", "\"http\""
    ]

/// A spec with these fields, by their dotted paths.
let private objectOf (values: Map<string, string>) =
    let rec write (fields: (string list * string) list) =
        fields
        |> List.groupBy (fun (path, _) -> path.Head)
        |> List.map (fun (name, inner) ->
            match inner with
            | [ [ _ ], value ] -> $"\"{name}\":{value}"
            | _ ->
                let rest = inner |> List.map (fun (path, value) -> path.Tail, value)
                $"\"{name}\":{write rest}")
        |> String.concat ","
        |> fun body -> "{" + body + "}"

    let fields = [ for KeyValue(path, value) in values -> List.ofArray (path.Split '.'), value ]
    JsonDocument.Parse("{\"spec\":" + write fields + "}").RootElement

/// What the schema says of a text, without its CEL rules.
let private isInSchema (path: string) (value: string) =
    let _, schema =
        allLeaves |> List.find (fun (leaf, _) -> String.concat "." leaf = path)

    let number name =
        tryText [ name ] schema |> Option.map int

    let isLongEnough =
        number "minLength" |> Option.forall (fun least -> value.Length >= least)

    let isShortEnough =
        number "maxLength" |> Option.forall (fun most -> value.Length <= most)

    let matches =
        tryText [ "pattern" ] schema
        |> Option.forall (fun pattern -> Regex.IsMatch(value, pattern))

    let isListed =
        match items [ "enum" ] schema with
        | [] -> true
        | listed -> listed |> List.map string |> List.contains value

    isLongEnough && isShortEnough && matches && isListed

let private decode path (json: string) =
    Decode.cloneSpec (objectOf (Map.add path json good))

let tests =
    testList "CRD" [
        test "the copy for kustomize is the chart's file" {
            Expect.equal
                (File.ReadAllText(Path.Combine(root, "deploy", "kustomize", "crd", "crd.yaml")))
                (File.ReadAllText ofChart)
                "the same"
        }

        test "group, version, names and columns are those that users know" {
            Expect.equal (text [ "spec"; "group" ] crd) Decode.Group "group"
            Expect.equal (text [ "name" ] version) Decode.Version "version"
            Expect.equal (text [ "spec"; "names"; "plural" ] crd) Decode.Plural "plural"

            Expect.equal
                (items [ "spec"; "names"; "shortNames" ] crd |> List.map string)
                [ "rc"; "reqclone" ]
                "short names"

            Expect.equal
                (items [ "additionalPrinterColumns" ] version |> List.map (text [ "name" ]))
                [ "Host"; "Backend"; "Ready"; "Status"; "Age" ]
                "columns"

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

                match decode dotted "[]" with
                | Error [ FieldFault.WrongType(field, _, _) ] ->
                    Expect.equal field $"spec.{dotted}" "the program looks at it"
                | result -> failtest $"{dotted} is not read: {result}"

            Expect.equal
                allLeaves.Length
                (FSharpType.GetRecordFields typeof<SpecFields>).Length
                "as many as the program reads"
        }

        test "the fields that a manifest may have are those of the schema" {
            let inSchema =
                allLeaves |> List.map (fun (path, _) -> "spec." + String.concat "." path)

            let known = KnownFields.paths |> List.filter (fun path -> path.StartsWith "spec.")

            let isParent (path: string) =
                inSchema |> List.exists (fun leaf -> leaf.StartsWith(path + "."))

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
                "delivery.backoffPolicy", [ "linear"; "exponential" ]
            ]

            for path, values in accepted do
                for value in values do
                    Expect.isOk (decode path $"\"{value}\"") $"the program: {path} {value}"
                    Expect.isTrue (isInSchema path value) $"the schema: {path} {value}"
        }

        test "what the schema refuses, the program does" {
            let refused = [
                "host", [ "" ]
                "backend.serviceName", [ ""; "App"; "-a"; "a_b"; String('a', 64) ]
                "backend.servicePort", [ " "; "HTTP"; "a_b"; "abcdefghijklmnop" ]
                "timeouts.backendRequest", [ ""; "5"; "1d"; "-1s"; "1.5s"; "100000s" ]
                "delivery.backoffPolicy", [ "constant"; "" ]
            ]

            for path, values in refused do
                for value in values do
                    Expect.isFalse (isInSchema path value) $"the schema: {path} {value}"
                    Expect.isError (decode path $"\"{value}\"") $"the program: {path} {value}"
        }
    ]
