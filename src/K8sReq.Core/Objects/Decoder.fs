namespace K8sReq.Core

open System.Text.Json
open FsToolkit.ErrorHandling

/// How a value of JSON is read: to a `'T`, or to everything that is wrong with it. `Shape` names the fields that it knows.
type Decoder<'T> = {
    Shape: JsonShape
    /// From the path of the value, as users write it, and the value, which is never `null`.
    Read: string -> JsonElement -> Validation<'T, FieldFault>
}

/// How some fields of an object are read. Built by `fields { let! .. and! .. return .. }`, where every field is read even if
/// another one cannot be, so that all faults are found at once.
///
/// Four fields in one of them at the most: each makes the type of what was read before a level deeper, and a program that is
/// compiled ahead of time has types of a few levels alone. More fields are groups of fields.
type FieldsDecoder<'T> = {
    Known: (string * JsonShape) list
    ReadFields: string -> JsonElement -> Validation<'T, FieldFault>
}

[<Sealed>]
type FieldsBuilder() =
    member _.MergeSources(a: FieldsDecoder<'A>, b: FieldsDecoder<'B>) : FieldsDecoder<'A * 'B> = {
        Known = a.Known @ b.Known
        ReadFields = fun path parent -> Validation.zip (a.ReadFields path parent) (b.ReadFields path parent)
    }

    member _.BindReturn(decoder: FieldsDecoder<'A>, map: 'A -> 'B) : FieldsDecoder<'B> = {
        Known = decoder.Known
        ReadFields = fun path parent -> decoder.ReadFields path parent |> Result.map map
    }

module Decoder =
    /// Reads the fields of an object, all of them, and collects their faults.
    let fields = FieldsBuilder()

    let private wrongType path expected value =
        Error [ FieldFault.WrongType(path, expected, Json.describe value) ]

    /// Any value as it is, with whatever it holds.
    let any: Decoder<JsonElement> = {
        Shape = JsonShape.Any
        Read = fun _ value -> Ok value
    }

    let text: Decoder<string> = {
        Shape = JsonShape.Any
        Read =
            fun path value ->
                match Json.tryText value with
                | Some text -> Ok text
                // The commonest mistake: a number that has no quotation marks in YAML.
                | None when value.ValueKind = JsonValueKind.Number ->
                    let given = $"{Json.describe value} (write \"{value.GetRawText()}\")"
                    Error [ FieldFault.WrongType(path, "a string", given) ]
                | None -> wrongType path "a string" value
    }

    let boolean: Decoder<bool> = {
        Shape = JsonShape.Any
        Read =
            fun path value ->
                match value.ValueKind with
                | JsonValueKind.True -> Ok true
                | JsonValueKind.False -> Ok false
                | _ -> wrongType path "true or false" value
    }

    let integer: Decoder<int64> = {
        Shape = JsonShape.Any
        Read =
            fun path value ->
                match Json.tryInteger value with
                | Some number -> Ok number
                | None -> wrongType path "a whole number" value
    }

    /// A string, or a whole number as it is written: Kubernetes' IntOrString.
    let textOrInteger: Decoder<string> = {
        Shape = JsonShape.Any
        Read =
            fun path value ->
                match Json.tryText value, Json.tryInteger value with
                | Some text, _ -> Ok text
                | None, Some number -> Ok(string number)
                | None, None -> wrongType path "a string or a whole number" value
    }

    /// Items with their index in the path: `spec.ports[0]`.
    let list (item: Decoder<'T>) : Decoder<'T list> = {
        Shape = JsonShape.Items item.Shape
        Read =
            fun path value ->
                if value.ValueKind = JsonValueKind.Array then
                    Json.items value
                    |> List.mapi (fun index value -> item.Read $"{path}[{index}]" value)
                    |> List.sequenceValidationA
                else
                    wrongType path "a list" value
    }

    /// An object, of which these fields are known.
    let object (decoder: FieldsDecoder<'T>) : Decoder<'T> = {
        Shape = JsonShape.Fields decoder.Known
        Read =
            fun path value ->
                if value.ValueKind = JsonValueKind.Object then
                    decoder.ReadFields path value
                else
                    wrongType path "an object" value
    }

    /// The decoder's value as something narrower. `narrow` gets the path for its fault.
    let refine (narrow: string -> 'A -> Result<'B, FieldFault>) (decoder: Decoder<'A>) : Decoder<'B> = {
        Shape = decoder.Shape
        Read =
            fun path value ->
                decoder.Read path value
                |> Result.bind (narrow path >> Result.mapError List.singleton)
    }

    let private join (path: string) (name: string) =
        if path = "" then name else $"{path}.{name}"

    /// A field that must be there.
    let required (name: string) (decoder: Decoder<'T>) : FieldsDecoder<'T> = {
        Known = [ name, decoder.Shape ]
        ReadFields =
            fun path parent ->
                let path = join path name

                match Json.tryField name parent with
                | Some value -> decoder.Read path value
                | None -> Error [ FieldFault.Missing path ]
    }

    /// A field, or the value that it has where it is absent or `null`.
    let orDefault (byDefault: 'T) (name: string) (decoder: Decoder<'T>) : FieldsDecoder<'T> = {
        Known = [ name, decoder.Shape ]
        ReadFields =
            fun path parent ->
                match Json.tryField name parent with
                | Some value -> decoder.Read (join path name) value
                | None -> Ok byDefault
    }

    /// A field that may be absent.
    let optional (name: string) (decoder: Decoder<'T>) : FieldsDecoder<'T option> = {
        Known = [ name, decoder.Shape ]
        ReadFields =
            fun path parent ->
                match Json.tryField name parent with
                | Some value -> decoder.Read (join path name) value |> Result.map Some
                | None -> Ok None
    }

    /// Fields that say one thing together. `narrow` gets the path of their object.
    let refineFields
        (narrow: string -> 'A -> Result<'B, FieldFault>)
        (decoder: FieldsDecoder<'A>)
        : FieldsDecoder<'B> = {
        Known = decoder.Known
        ReadFields =
            fun path parent ->
                decoder.ReadFields path parent
                |> Result.bind (narrow path >> Result.mapError List.singleton)
    }

    /// Reads a whole object.
    let run (decoder: Decoder<'T>) (value: JsonElement) : Validation<'T, FieldFault> = decoder.Read "" value
