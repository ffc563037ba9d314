/// The fields of a RequestClone, from the schema of the CustomResourceDefinition.
module K8sReq.Docs.Tests.ApiReference

open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open K8sReq.Kubernetes

let private definition =
    lazy
        (let file =
            Path.Combine(
                Documents.root,
                "chart",
                "k8sreq-duplicator-controller",
                "crds",
                "proxy.infra.doodle.com_requestclones.yaml"
            )

         match ManifestYaml.parse (File.ReadAllText file) with
         | Ok [ document ] -> document.Root
         | Ok documents -> failwith $"{file}: {documents.Length} documents"
         | Error error -> failwith $"{file}:{error.Line}: {error.Reason}")

let rec private tryAt (path: string list) (element: JsonElement) : JsonElement option =
    match path with
    | [] -> Some element
    | name :: rest when element.ValueKind = JsonValueKind.Object ->
        match element.TryGetProperty name with
        | true, inner -> tryAt rest inner
        | false, _ -> None
    | _ -> None

let private items (path: string list) (element: JsonElement) =
    tryAt path element
    |> Option.map (fun list -> List.ofSeq (list.EnumerateArray()))
    |> Option.defaultValue []

let private textAt (name: string) (element: JsonElement) =
    tryAt [ name ] element |> Option.map string

type private Field = {
    /// Such as `spec.delivery.retry`.
    Path: string
    Schema: JsonElement
    IsRequired: bool
}

let rec private fieldsOf (path: string) (schema: JsonElement) : Field list =
    let required = items [ "required" ] schema |> List.map string

    match tryAt [ "properties" ] schema, tryAt [ "items" ] schema with
    | Some properties, _ -> [
        for property in properties.EnumerateObject() do
            let field = $"{path}.{property.Name}"

            {
                Path = field
                Schema = property.Value
                IsRequired = List.contains property.Name required
            }

            yield! fieldsOf field property.Value
      ]
    | None, Some item -> fieldsOf (path + "[]") item
    | None, None -> []

let private messages (schema: JsonElement) =
    items [ "x-kubernetes-validations" ] schema
    |> List.choose (textAt "message")
    |> List.distinct

let private typeOf (schema: JsonElement) =
    match textAt "type" schema with
    | Some "string" when messages schema |> List.exists _.StartsWith("a duration") -> "duration"
    | Some "string" when textAt "format" schema = Some "date-time" -> "time"
    | Some "array" -> "list"
    | Some kind -> kind
    | None when tryAt [ "x-kubernetes-int-or-string" ] schema |> Option.isSome -> "integer or string"
    | None -> failwith "a field without a type"

/// What the schema says in numbers; what its rules say in words stands below the table.
let private limits (schema: JsonElement) =
    let number name = textAt name schema

    [
        match items [ "enum" ] schema |> List.map string with
        | [] -> ()
        | values -> values |> List.map MarkdownTable.code |> String.concat ", "
        match number "minimum", number "maximum" with
        | Some least, Some most -> $"{least} to {most}"
        | Some least, None -> $"from {least}"
        | None, Some most -> $"up to {most}"
        | None, None -> ()
        match number "minLength", number "maxLength" with
        | Some least, Some most -> $"{least} to {most} characters"
        | None, Some most when typeOf schema <> "duration" -> $"up to {most} characters"
        | _ -> ()
        if typeOf schema = "duration" then
            for message in messages schema do
                Regex.Match(message, "^a duration from (\\w+ to \\w+),").Groups[1].Value
        match number "maxItems" with
        | Some most -> $"up to {most} items"
        | None -> ()
    ]
    |> String.concat "; "

let private version () =
    match items [ "spec"; "versions" ] definition.Value with
    | [ one ] -> one
    | several -> failwith $"{several.Length} versions"

let private schemaOf (name: string) : JsonElement =
    match tryAt [ "schema"; "openAPIV3Schema"; "properties"; name ] (version ()) with
    | Some schema -> schema
    | None -> failwith $"no {name}"

let private fieldsBelow (name: string) : Field list = fieldsOf name (schemaOf name)

let private description (schema: JsonElement) =
    defaultArg (textAt "description" schema) ""

let private table (name: string) : string =
    MarkdownTable.render [ "field"; "type"; "accepted"; "" ] [
        for field in fieldsBelow name do
            [
                MarkdownTable.code field.Path
                typeOf field.Schema + (if field.IsRequired then ", required" else "")
                MarkdownTable.cell (limits field.Schema)
                MarkdownTable.cell (description field.Schema)
            ]
    ]

let renderSpec () : string = table "spec"
let renderStatus () : string = table "status"

// All schemas with their paths, those of the items of lists too.
let rec private schemasOf (path: string) (schema: JsonElement) : (string * JsonElement) list = [
    path, schema

    match tryAt [ "properties" ] schema with
    | Some properties ->
        for property in properties.EnumerateObject() do
            yield! schemasOf $"{path}.{property.Name}" property.Value
    | None -> ()

    match tryAt [ "items" ] schema with
    | Some item -> yield! schemasOf $"{path}[]" item
    | None -> ()
]

/// What the API server says to a value that breaks a rule.
let renderRules () : string =
    [
        for path, schema in schemasOf "spec" (schemaOf "spec") do
            match messages schema with
            | rules when typeOf schema <> "duration" && not rules.IsEmpty ->
                $"- `{path}`"

                for rule in rules do
                    $"  - {rule}"
            | _ -> ()
    ]
    |> String.concat "\n"

let renderNames () : string =
    let spec name =
        match tryAt ("spec" :: name) definition.Value with
        | Some value -> value
        | None -> failwith $"{name}"

    let names field =
        spec [ "names" ]
        |> items [ field ]
        |> List.map (string >> MarkdownTable.code)
        |> String.concat ", "

    MarkdownTable.render [ ""; "" ] [
        [
            "group and version"
            MarkdownTable.code $"""{spec [ "group" ]}/{(textAt "name" (version ())).Value}"""
        ]
        [ "kind"; MarkdownTable.code (string (spec [ "names"; "kind" ])) ]
        [ "plural"; MarkdownTable.code (string (spec [ "names"; "plural" ])) ]
        [ "category"; names "categories" ]
        [ "scope"; (string (spec [ "scope" ])).ToLowerInvariant() ]
        [
            "columns of `kubectl get`"
            items [ "additionalPrinterColumns" ] (version ())
            |> List.map (fun column ->
                let isWide =
                    textAt "priority" column |> Option.exists (fun priority -> priority <> "0")

                (textAt "name" column).Value + (if isWide then " (with `-o wide`)" else ""))
            |> String.concat ", "
        ]
    ]
