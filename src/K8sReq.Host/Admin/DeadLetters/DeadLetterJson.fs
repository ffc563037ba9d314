/// Dead letters as JSON. Field names are part of the interface.
module K8sReq.Host.Admin.DeadLetters.DeadLetterJson

open System
open System.Buffers
open System.Text
open System.Text.Json
open System.Text.Unicode
open K8sReq.Core
open K8sReq.Host.Admin.JsonOutput

// What belongs to its request: the fields of its head, and its body.
let private partsOf (content: CapturedRequest) : struct (string * string)[] * byte[] =
    let fieldsEnd = int content.FieldsEnd
    let wire = content.Wire.ToArray()
    let head = Encoding.Latin1.GetString(wire, 0, fieldsEnd)

    let fields = [|
        for line in head.Split("\r\n", StringSplitOptions.RemoveEmptyEntries) |> Seq.skip 1 do
            match line.IndexOf ':' with
            | -1 -> ()
            | colon -> struct (line.Substring(0, colon), line.Substring(colon + 1).Trim())
    |]

    // After the empty line.
    fields, wire[fieldsEnd + 2 ..]

let private fields (json: Utf8JsonWriter) (letter: DeadLetter) : unit =
    json.WriteString("id", string letter.Id)
    json.WriteString("requestId", letter.RequestId)
    json.WriteString("clone", string letter.Clone)
    json.WriteString("host", letter.Host)
    json.WriteString("method", letter.Method)
    json.WriteString("target", letter.Target)
    json.WriteString("outcome", DeadCause.name letter.Cause)
    json.WriteString("detail", letter.Outcome)
    json.WriteNumber("attempts", letter.Attempts)
    time json "receivedAt" (Some letter.ReceivedAt)
    time json "endedAt" (Some letter.EndedAt)
    json.WriteNumber("bytes", letter.Bytes)

/// `/api/dead`
let ofList (letters: DeadLetter list) : byte[] =
    render (fun json ->
        object json (fun () ->
            array json "deadLetters" letters (fun letter -> object json (fun () -> fields json letter))))

/// `/api/dead/ID`, with the header fields or the body of its request where they are asked for: a body that is no UTF-8 is in
/// base64, and `encoding` says so.
let ofLetter (letter: DeadLetter) (content: CapturedRequest) (hasHeaders: bool) (hasBody: bool) : byte[] =
    render (fun json ->
        object json (fun () ->
            fields json letter
            let lines, body = partsOf content

            if hasHeaders then
                array json "headers" lines (fun (struct (name, value)) ->
                    object json (fun () ->
                        json.WriteString("name", name)
                        json.WriteString("value", value)))

            if hasBody then
                if Utf8.IsValid body then
                    json.WriteString("body", Encoding.UTF8.GetString body)
                else
                    json.WriteString("body", Convert.ToBase64String body)
                    json.WriteString("encoding", "base64")))

/// What a replay or a removal has done, or would do.
let ofChange (name: string) (change: DeadLetterChange) (isDryRun: bool) : byte[] =
    render (fun json ->
        object json (fun () ->
            json.WriteNumber(name, change.Changed)
            json.WriteNumber("left", change.Left)
            json.WriteBoolean("dryRun", isDryRun)))

/// Why there is no answer.
let ofError (reason: string) : byte[] =
    render (fun json -> object json (fun () -> json.WriteString("error", reason)))
