/// What a running proxy tells a command, as text for a terminal.
module K8sReq.Host.Commands.AnswerText

open System
open System.Text.Json

/// The value of a field as text; empty where there is none, or null.
let field (name: string) (answer: JsonElement) : string =
    match answer.TryGetProperty name with
    | true, value when value.ValueKind = JsonValueKind.String -> string (value.GetString())
    | true, value when value.ValueKind = JsonValueKind.Null -> ""
    | true, value -> value.GetRawText()
    | false, _ -> ""

/// Control characters of a request are not written to a terminal.
let plain (text: string) : string =
    String.map (fun character -> if Char.IsControl character then '?' else character) text

/// The line for a status page that could not be asked.
let unreachable (addr: string) (error: exn) : string =
    $"k8sreq: no proxy answers at {addr} ({error.GetBaseException().Message}). --addr is the address of its status page (STATUS_ADDR)"
