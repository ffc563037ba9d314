/// The text of a manifest file to JSON documents, each with the line it begins on. YAML is read by `ManifestYaml`.
module K8sReq.Kubernetes.ManifestText

open System
open System.Text
open System.Text.Json

/// A document and the number of its first line, from 1.
[<Struct; NoEquality; NoComparison>]
type Document = { Line: int; Root: JsonElement }

/// Where and why a text could not be parsed. Lines count from 1.
type TextError = { Line: int; Reason: string }

// The reader's message ends with a place within the document.
let private withoutPlace (message: string) =
    let first (parts: string[]) = parts[0]
    first (message.Split([| " Path:"; " LineNumber:" |], StringSplitOptions.None))

/// All documents of a JSON file: one after the other is allowed, as it is for kubectl.
let parseJson (text: string) : Result<Document list, TextError> =
    let bytes = Encoding.UTF8.GetBytes text

    let readAll (begins: int -> unit) =
        let documents = ResizeArray<Document>()
        let mutable position = 0
        // Of the beginning of the last document.
        let mutable line, start = 1, 0
        let mutable isOpen = true

        while isOpen do
            let mutable reader =
                Utf8JsonReader(bytes.AsSpan position, JsonReaderOptions(AllowMultipleValues = true))

            if reader.Read() then
                let next = position + int reader.TokenStartIndex
                let between = bytes.AsSpan(start, next - start)
                line <- line + MemoryExtensions.Count(Span.op_Implicit between, 10uy)
                start <- next
                begins line
                // To the document's end.
                reader.Skip()
                let ended = position + int reader.BytesConsumed

                use document =
                    JsonDocument.Parse(
                        ReadOnlyMemory(bytes, next, ended - next),
                        JsonDocumentOptions(AllowDuplicateProperties = false)
                    )

                documents.Add {
                    Line = line
                    Root = document.RootElement.Clone()
                }

                position <- ended
            else
                isOpen <- false

        List.ofSeq documents

    // A reader starts again behind each document, and counts lines from there.
    let rec firstBroken (position: int) =
        let mutable reader =
            Utf8JsonReader(bytes.AsSpan position, JsonReaderOptions(AllowMultipleValues = true))

        try
            while reader.Read() do
                ()

            None
        with :? JsonException as error ->
            Some error

    match firstBroken 0 with
    | None ->
        let begun = ref 0

        try
            Ok(readAll (fun line -> begun.Value <- line))
        with
        | :? JsonException
        // Half of a surrogate pair in a property's name.
        | :? InvalidOperationException as error ->
            Error {
                Line = begun.Value
                Reason = withoutPlace error.Message
            }
    | Some error ->
        Error {
            Line = 1 + int (error.LineNumber.GetValueOrDefault())
            Reason = withoutPlace error.Message
        }
