namespace K8sReq.Host

open System
open System.Buffers
open System.Collections.Generic
open System.Diagnostics
open System.Globalization
open System.IO
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Logging.Console
open K8sReq.Proxy

/// One line of the log as one JSON object, by the names that log pipelines look for: `time`, `level`, `msg`, `logger`,
/// `event`, `event_id`, `trace_id`, `span_id`, the values of the message in snake_case, `error`, `error_type` and `stack`.
///
/// No name is there twice. A line has a bounded length: container runtimes split lines of 16 KiB, and a part of an object
/// is none.
[<Sealed>]
type JsonLogFormatter(clock: TimeProvider) =
    inherit ConsoleFormatter(JsonLogFormatter.FormatterName)

    // Letters of all alphabets as they are, but no control character, and no half of a surrogate pair.
    static let encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping
    static let options = JsonWriterOptions(Encoder = encoder)

    // Bytes of a line, and characters of a text and of a name in it.
    static let longestLine = 15_000
    static let longestText = 4_000
    static let longestName = 64

    // What ends the line, and a number or a name, always fit.
    static let reserve = 256

    // A character takes so many bytes at most: `\uXXXX`.
    static let widest = 6

    static let cut (length: int) (text: string) =
        if text.Length <= length then
            text
        elif length <= 0 then
            "…"
        elif Char.IsHighSurrogate text[length - 1] then
            text.Substring(0, length - 1) + "…"
        else
            text.Substring(0, length) + "…"

    static let levelName (level: LogLevel) =
        match level with
        | LogLevel.Trace
        | LogLevel.Debug -> "debug"
        | LogLevel.Warning -> "warn"
        | LogLevel.Error
        | LogLevel.Critical -> "error"
        | _ -> "info"

    // The name, or the first with a number after it that this object does not have yet.
    static let free (names: HashSet<string>) (name: string) =
        let rec tryNext (number: int) =
            let candidate = if number = 1 then name else $"{name}_{number}"

            if names.Add candidate then
                candidate
            else
                tryNext (number + 1)

        tryNext 1

    static let written (writer: Utf8JsonWriter) =
        int writer.BytesCommitted + writer.BytesPending

    static let writeText (writer: Utf8JsonWriter) (name: string) (text: string) =
        let room = longestLine - reserve - written writer

        let whole = JsonEncodedText.Encode(cut longestText text, encoder)

        if whole.EncodedUtf8Bytes.Length <= room then
            writer.WriteString(name, whole)
        else
            writer.WriteString(name, cut (room / widest) text)

    static let writeValue (writer: Utf8JsonWriter) (name: string) (value: obj | null) =
        match value with
        | null -> writer.WriteNull name
        | :? string as text -> writeText writer name text
        | :? Quantity as quantity -> writer.WriteNumber(name, quantity.Count)
        | :? bool as value -> writer.WriteBoolean(name, value)
        | :? int as number -> writer.WriteNumber(name, number)
        | :? int64 as number -> writer.WriteNumber(name, number)
        | :? uint32 as number -> writer.WriteNumber(name, number)
        | :? uint64 as number -> writer.WriteNumber(name, number)
        // JSON has no infinities.
        | :? float as number when Double.IsFinite number -> writer.WriteNumber(name, number)
        | :? float32 as number when Single.IsFinite number -> writer.WriteNumber(name, number)
        | :? decimal as number -> writer.WriteNumber(name, number)
        | :? DateTimeOffset as time ->
            writer.WriteString(name, time.UtcDateTime.ToString("O", CultureInfo.InvariantCulture))
        | :? IFormattable as value ->
            writeText writer name (value.ToString(null, CultureInfo.InvariantCulture))
        | value -> writeText writer name (string value)

    static member FormatterName = "k8sreq-json"

    /// The object for a line, without a line break.
    static member Line
        (
            time: DateTimeOffset,
            level: LogLevel,
            category: string,
            event: EventId,
            message: string,
            fields: IEnumerable<KeyValuePair<string, obj | null>>,
            error: exn | null,
            activity: Activity | null
        ) : string =
        let bytes = ArrayBufferWriter<byte>(512)
        use writer = new Utf8JsonWriter(bytes, options)

        let names =
            HashSet<string>(
                [
                    "time"
                    "level"
                    "msg"
                    "logger"
                    "event"
                    "event_id"
                    if not (isNull error) then
                        "error"
                        "error_type"
                        "stack"
                ],
                StringComparer.Ordinal
            )

        let text = writeText writer
        writer.WriteStartObject()
        text "time" (time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture))
        text "level" (levelName level)
        text "msg" message
        text "logger" category

        match event.Name with
        | null
        | "" -> ()
        | name -> text "event" (JsonNamingPolicy.SnakeCaseLower.ConvertName(cut longestName name))

        if event.Id <> 0 then
            writer.WriteNumber("event_id", event.Id)

        for KeyValue(name, value) in fields do
            if name <> "{OriginalFormat}" && written writer < longestLine - 4 * reserve then
                let name = JsonNamingPolicy.SnakeCaseLower.ConvertName(cut longestName name)
                writeValue writer (free names name) value

        // A message that names a trace itself is about that one.
        match activity with
        | null -> ()
        | activity ->
            if names.Add "trace_id" then
                writer.WriteString("trace_id", activity.TraceId.ToHexString())

                if names.Add "span_id" then
                    writer.WriteString("span_id", activity.SpanId.ToHexString())

        match error with
        | null -> ()
        | error ->
            text "error" error.Message
            text "error_type" (error.GetType().ToString())
            text "stack" (string error)

        writer.WriteEndObject()
        writer.Flush()
        Encoding.UTF8.GetString bytes.WrittenSpan

    override _.Write<'State>
        (entry: inref<LogEntry<'State>>, _scopes: IExternalScopeProvider | null, output: TextWriter)
        : unit =
        let message = entry.Formatter.Invoke(entry.State, entry.Exception)

        let fields =
            match box entry.State with
            | :? IEnumerable<KeyValuePair<string, obj | null>> as fields -> fields
            | _ -> Seq.empty

        output.Write(
            JsonLogFormatter.Line(
                clock.GetUtcNow(),
                entry.LogLevel,
                entry.Category,
                entry.EventId,
                message,
                fields,
                entry.Exception,
                Activity.Current
            )
        )

        output.Write '\n'
