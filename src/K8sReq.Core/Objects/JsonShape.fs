namespace K8sReq.Core

open System.Text.Json

/// Which fields a value may have, as far as its decoder says.
[<RequireQualifiedAccess>]
type JsonShape =
    /// Any value, with whatever fields.
    | Any
    /// An object whose names are the user's own and whose values are strings: labels and annotations.
    | Strings
    | Fields of (string * JsonShape) list
    /// A list, of whose items each has this shape.
    | Items of JsonShape

module JsonShape =
    let private join (path: string) (name: string) =
        if path = "" then name else $"{path}.{name}"

    let rec private pathsFrom (path: string) (shape: JsonShape) : string list =
        match shape with
        | JsonShape.Any
        | JsonShape.Strings -> [ path ]
        | JsonShape.Items item -> path :: pathsFrom $"{path}[]" item
        | JsonShape.Fields fields ->
            (if path = "" then [] else [ path ])
            @ (fields |> List.collect (fun (name, shape) -> pathsFrom (join path name) shape))

    /// The paths of all fields, those of objects and of items too: `spec`, `spec.host`, `spec.ports[].name`.
    let paths (shape: JsonShape) : string list = pathsFrom "" shape

    let private nameOf (path: string) =
        path.Substring(path.LastIndexOf '.' + 1)

    // The same name elsewhere; else a similar name here; else a similar name anywhere in the spec.
    let private nearest
        (known: string list)
        (path: string)
        (fields: (string * JsonShape) list)
        (name: string)
        =
        match known |> List.filter (fun known -> nameOf known = name) with
        | elsewhere :: _ -> Some elsewhere
        | [] ->
            match NearestName.tryFind (List.map fst fields) name with
            | Some here -> Some(join path here)
            | None ->
                let inSpec = known |> List.filter _.StartsWith("spec")

                NearestName.tryFind (List.map nameOf inSpec) name
                |> Option.bind (fun found -> inSpec |> List.tryFind (fun known -> nameOf known = found))

    // Labels and annotations are where people forget quotation marks.
    let private describe (value: JsonElement) =
        match value.ValueKind with
        | JsonValueKind.Number
        | JsonValueKind.True
        | JsonValueKind.False -> $"{value.GetRawText()} (write \"{value.GetRawText()}\")"
        | JsonValueKind.Null -> "null"
        | _ -> Json.describe value

    let rec private faultsFrom
        known
        (path: string)
        (shape: JsonShape)
        (value: JsonElement)
        : FieldFault list =
        match shape with
        | JsonShape.Items item when value.ValueKind = JsonValueKind.Array ->
            Json.items value
            |> List.mapi (fun index value -> faultsFrom known $"{path}[{index}]" item value)
            |> List.concat
        | JsonShape.Items _ -> []
        // A value of the wrong type is reported by its decoder.
        | _ when value.ValueKind <> JsonValueKind.Object -> []
        | JsonShape.Any -> []
        | JsonShape.Strings -> [
            for field in value.EnumerateObject() do
                if field.Value.ValueKind <> JsonValueKind.String then
                    FieldFault.WrongType(join path field.Name, "a string", describe field.Value)
          ]
        | JsonShape.Fields fields -> [
            for field in value.EnumerateObject() do
                let inner = join path field.Name

                match fields |> List.tryFind (fun (name, _) -> name = field.Name) with
                | Some(_, shape) -> yield! faultsFrom known inner shape field.Value
                | None -> FieldFault.Unknown(inner, nearest known path fields field.Name)
          ]

    /// The fields of a value that its shape does not have, and labels that are no strings.
    let faults (shape: JsonShape) (value: JsonElement) : FieldFault list =
        faultsFrom (paths shape) "" shape value
