/// JSON as the program's own interface writes it: times are RFC 3339 in UTC, durations seconds, sizes bytes.
module K8sReq.Host.Admin.JsonOutput

open System
open System.IO
open System.Text.Json

let render (write: Utf8JsonWriter -> unit) : byte[] =
    use stream = new MemoryStream()
    use json = new Utf8JsonWriter(stream)
    write json
    json.Flush()
    stream.ToArray()

let object (json: Utf8JsonWriter) (write: unit -> unit) : unit =
    json.WriteStartObject()
    write ()
    json.WriteEndObject()

let field (json: Utf8JsonWriter) (name: string) (write: unit -> unit) : unit =
    json.WritePropertyName name
    object json write

let array (json: Utf8JsonWriter) (name: string) (items: 'T seq) (write: 'T -> unit) : unit =
    json.WriteStartArray name

    for item in items do
        write item

    json.WriteEndArray()

let seconds (json: Utf8JsonWriter) (name: string) (duration: TimeSpan option) : unit =
    match duration with
    | Some duration -> json.WriteNumber(name, Math.Round(duration.TotalSeconds, 6))
    | None -> json.WriteNull name

/// A time as text.
let timeText (at: DateTimeOffset) : string =
    at.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ"

let time (json: Utf8JsonWriter) (name: string) (at: DateTimeOffset option) : unit =
    match at with
    | Some at -> json.WriteString(name, timeText at)
    | None -> json.WriteNull name
