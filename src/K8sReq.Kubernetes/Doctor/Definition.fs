/// The CustomResourceDefinition, beside what this version reads.
module K8sReq.Kubernetes.Doctor.Definition

open System
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open k8s
open K8sReq.Core

// The paths of all properties of a schema, as JsonShape has them.
let rec private schemaPaths (path: string) (schema: JsonElement) : string list =
    match Json.tryField "properties" schema, Json.tryField "items" schema with
    | None, Some item -> path :: schemaPaths $"{path}[]" item
    | None, None -> [ path ]
    | Some properties, _ -> [
        path

        for property in properties.EnumerateObject() do
            let inner =
                if path = "" then
                    property.Name
                else
                    $"{path}.{property.Name}"

            yield! schemaPaths inner property.Value
      ]

let private compareFields (definition: JsonElement) : Finding =
    let kind = RequestClone.kind.Name

    let version =
        Json.tryAt [ "spec"; "versions" ] definition
        |> Option.map Json.items
        |> Option.defaultValue []
        |> List.tryFind (fun version -> Json.textAt [ "name" ] version = kind.Version)

    match version |> Option.bind (Json.tryAt [ "schema"; "openAPIV3Schema" ]) with
    | None -> Finding.failed "crd" $"{kind.Plural}.{kind.Group} has no version {kind.Version}"
    | Some schema ->
        let there = Set.ofList (schemaPaths "" schema)

        let missing =
            JsonShape.paths CloneSpec.decoder.Shape
            |> List.filter (fun path -> not (there.Contains("spec." + path)))

        match missing with
        | [] -> Finding.ok "crd" $"{kind.Kind} {kind.ApiVersion}, with all fields of this version"
        | missing ->
            Finding.failed
                "crd"
                $"an older CustomResourceDefinition: the API server drops {Problem.some missing}. Apply the one of this version"

/// Whether the CustomResourceDefinition is there, with all fields of this version.
let examine (client: IKubernetes) (stop: CancellationToken) = task {
    let kind = RequestClone.kind.Name

    try
        let! definition =
            client.CustomObjects.GetClusterCustomObjectAsync<JsonElement>(
                "apiextensions.k8s.io",
                "v1",
                "customresourcedefinitions",
                $"{kind.Plural}.{kind.Group}",
                cancellationToken = stop
            )

        return compareFields definition
    with
    | error when Problem.isStatus 404 error ->
        return
            Finding.failed
                "crd"
                $"there is no CustomResourceDefinition {kind.Plural}.{kind.Group}. Apply the one of the chart"
    | error when Problem.isStatus 403 error ->
        return
            Finding.skipped
                "crd"
                "its fields cannot be compared: no permission to get customresourcedefinitions, which the proxy does not need"
    | error -> return Finding.skipped "crd" (Problem.describe error)
}
