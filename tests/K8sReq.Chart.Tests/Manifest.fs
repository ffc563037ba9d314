/// Rendered objects, and ways into them.
module K8sReq.Chart.Tests.Manifest

open System.Text.Json
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

let parse (yaml: string) : JsonElement list =
    match ManifestYaml.parse yaml with
    | Ok documents -> documents |> List.map _.Root
    | Error error -> failwith $"line {error.Line}: {error.Reason}"

/// What stands at this path, if anything does.
let rec tryAt (path: string list) (element: JsonElement) : JsonElement option =
    match path with
    | [] ->
        if element.ValueKind = JsonValueKind.Null then
            None
        else
            Some element
    | name :: rest when element.ValueKind = JsonValueKind.Object ->
        match element.TryGetProperty name with
        | true, inner -> tryAt rest inner
        | false, _ -> None
    | _ -> None

let at path element =
    match tryAt path element with
    | Some found -> found
    | None -> failwith $"nothing at {path} in {element}"

/// Scalars as they are written, whatever their kind.
let text path element = string (at path element)

let tryText path element = tryAt path element |> Option.map string

let items path element : JsonElement list =
    match tryAt path element with
    | Some list -> List.ofSeq (list.EnumerateArray())
    | None -> []

/// Names and texts of an object's fields.
let fields path element : Map<string, string> =
    match tryAt path element with
    | Some found -> Map.ofSeq [ for field in found.EnumerateObject() -> field.Name, string field.Value ]
    | None -> Map.empty

let kind (objects: JsonElement list) name =
    objects |> List.filter (fun object -> text [ "kind" ] object = name)

let theOnly objects name =
    match kind objects name with
    | [ one ] -> one
    | several -> failwith $"{several.Length} objects of kind {name}"
