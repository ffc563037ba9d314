namespace K8sReq.Core

open System
open System.Text.Json

/// Parts of JSON as the API server reads them: a field that is `null` is absent. What is of another type than asked for
/// counts as absent too; a `Decoder` is what reports it.
module Json =
    /// The field of an object; None where there is none, or where the parent is no object.
    let tryField (name: string) (parent: JsonElement) : JsonElement option =
        if parent.ValueKind <> JsonValueKind.Object then
            None
        else
            match parent.TryGetProperty name with
            | true, value when value.ValueKind <> JsonValueKind.Null -> Some value
            | _ -> None

    /// What lies at the end of a path of fields.
    let tryAt (path: string list) (value: JsonElement) : JsonElement option =
        (Some value, path)
        ||> List.fold (fun value name -> Option.bind (tryField name) value)

    let tryText (value: JsonElement) : string option =
        if value.ValueKind = JsonValueKind.String then
            Option.ofObj (value.GetString())
        else
            None

    /// The string at the end of a path of fields, or an empty one.
    let textAt (path: string list) (value: JsonElement) : string =
        tryAt path value |> Option.bind tryText |> Option.defaultValue ""

    let tryInteger (value: JsonElement) : int64 option =
        if value.ValueKind = JsonValueKind.Number then
            match value.TryGetInt64() with
            | true, number -> Some number
            | false, _ -> None
        else
            None

    /// A time in RFC 3339's spelling.
    let tryTime (value: JsonElement) : DateTimeOffset option =
        if value.ValueKind = JsonValueKind.String then
            match value.TryGetDateTimeOffset() with
            | true, time -> Some time
            | false, _ -> None
        else
            None

    /// The items of a list; none where it is no list.
    let items (value: JsonElement) : JsonElement list =
        if value.ValueKind = JsonValueKind.Array then
            List.ofSeq (value.EnumerateArray())
        else
            []

    /// What kind of value it is, for messages: "a string", "the number 8080".
    let describe (value: JsonElement) : string =
        match value.ValueKind with
        | JsonValueKind.Object -> "an object"
        | JsonValueKind.Array -> "a list"
        | JsonValueKind.String -> "a string"
        | JsonValueKind.Number -> $"the number {value.GetRawText()}"
        | JsonValueKind.True -> "true"
        | JsonValueKind.False -> "false"
        | JsonValueKind.Null
        | JsonValueKind.Undefined
        | _ -> "nothing"
