/// The fields that a RequestClone can have. The API server refuses others, or removes them; in a manifest they are errors.
module K8sReq.Host.Manifests.KnownFields

open System.Text.Json
open K8sReq.Core
open K8sReq.Kubernetes

type private Known =
    /// A value, or an object whose fields are nobody's business here.
    | Anything
    /// Names and values of the user's own, all of them strings.
    | Strings
    | Fields of (string * Known) list

let private metadata =
    Fields [
        "name", Anything
        "namespace", Anything
        "labels", Strings
        "annotations", Strings
        // What else an object has that was read from a cluster.
        "creationTimestamp", Anything
        "deletionGracePeriodSeconds", Anything
        "deletionTimestamp", Anything
        "finalizers", Anything
        "generateName", Anything
        "generation", Anything
        "managedFields", Anything
        "ownerReferences", Anything
        "resourceVersion", Anything
        "selfLink", Anything
        "uid", Anything
    ]

let private spec =
    Fields [
        "host", Anything
        "backend", Fields [ "serviceName", Anything; "servicePort", Anything ]
        "timeouts", Fields [ "backendRequest", Anything ]
        "delivery",
        Fields [
            "retry", Anything
            "backoffPolicy", Anything
            "backoffDelay", Anything
            "backoffMax", Anything
        ]
    ]

let private requestClone =
    Fields [
        "apiVersion", Anything
        "kind", Anything
        "metadata", metadata
        "spec", spec
        "status", Anything
    ]

let private join (path: string) (name: string) =
    if path = "" then name else $"{path}.{name}"

let rec private pathsOf (path: string) (known: Known) : string list =
    match known with
    | Anything
    | Strings -> [ path ]
    | Fields fields ->
        (if path = "" then [] else [ path ])
        @ (fields |> List.collect (fun (name, known) -> pathsOf (join path name) known))

/// The paths of all fields, those of objects too.
let paths: string list = pathsOf "" requestClone

let private nameOf (path: string) =
    path.Substring(path.LastIndexOf '.' + 1)

// A field of that very name elsewhere, or else one of a like name here, or else one of a like name below or elsewhere.
let private nearest (path: string) (fields: (string * Known) list) (name: string) : string option =
    match paths |> List.filter (fun known -> nameOf known = name) with
    | elsewhere :: _ -> Some elsewhere
    | [] ->
        match NearestName.tryFind (List.map fst fields) name with
        | Some here -> Some(join path here)
        | None ->
            let inSpec = paths |> List.filter _.StartsWith("spec")

            NearestName.tryFind (List.map nameOf inSpec) name
            |> Option.bind (fun found -> inSpec |> List.tryFind (fun known -> nameOf known = found))

let private describe (value: JsonElement) =
    match value.ValueKind with
    | JsonValueKind.Number
    | JsonValueKind.True
    | JsonValueKind.False -> $"{value.GetRawText()} (write \"{value.GetRawText()}\")"
    | JsonValueKind.Null -> "null"
    | JsonValueKind.Array -> "a list"
    | _ -> "an object"

let rec private faultsOf (path: string) (known: Known) (value: JsonElement) : FieldFault list =
    match known with
    // What is of the wrong type is reported by whoever reads it.
    | _ when value.ValueKind <> JsonValueKind.Object -> []
    | Anything -> []
    | Strings -> [
        for field in value.EnumerateObject() do
            if field.Value.ValueKind <> JsonValueKind.String then
                FieldFault.WrongType(join path field.Name, "a string", describe field.Value)
      ]
    | Fields fields -> [
        for field in value.EnumerateObject() do
            let path' = join path field.Name

            match fields |> List.tryFind (fun (name, _) -> name = field.Name) with
            | Some(_, known) -> yield! faultsOf path' known field.Value
            | None -> FieldFault.Unknown(path', nearest path fields field.Name)
      ]

/// What a manifest of a RequestClone has that no RequestClone has.
let check (manifest: JsonElement) : FieldFault list = faultsOf "" requestClone manifest
