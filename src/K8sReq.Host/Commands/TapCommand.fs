/// `k8sreq tap`: prints what a proxy that runs copies, as it happens.
module K8sReq.Host.Commands.TapCommand

open System
open System.Collections.Generic
open System.IO
open System.Net.Http
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

let private uriOf (command: TapCommand) : string =
    let query =
        [
            match command.Host with
            | Some host -> "host", host
            | None -> ()
            match command.Clone with
            | Some clone -> "clone", string clone
            | None -> ()
            if command.OnlyFailed then
                "failed", "true"
            if command.Paths then
                "paths", "true"
        ]
        |> List.map (fun (name, value) -> $"{name}={Uri.EscapeDataString value}")
        |> String.concat "&"

    command.Addr.TrimEnd '/' + "/api/tap" + (if query = "" then "" else "?" + query)

let private textOf (name: string) (event: JsonElement) : string =
    AnswerText.plain (AnswerText.field name event)

let private clockTime (event: JsonElement) : string =
    event.GetProperty("time").GetDateTimeOffset().UtcDateTime.ToString "HH:mm:ss.fff"

// Enough to tell requests apart that are on the screen together.
let private shortId (event: JsonElement) : string =
    match textOf "request" event with
    | "" -> "-"
    | id -> id.Substring(max 0 (id.Length - 8))

let private plural (count: string) (noun: string) =
    if count = "1" then $"1 {noun}" else $"{count} {noun}s"

let private copies (count: string) =
    if count = "1" then "1 copy" else $"{count} copies"

let private requestLine (event: JsonElement) : string =
    let what =
        match textOf "reason" event with
        | "" -> copies (textOf "copies" event)
        | reason -> reason

    $"""{clockTime event}  {shortId event, -8}  {textOf "method" event} {textOf "host" event}{textOf "target" event}  {textOf "status" event}  {what}"""

let private copyLine (event: JsonElement) : string =
    let detail =
        match textOf "outcome" event with
        | "delivered" -> $"""delivered ({textOf "status" event})"""
        | outcome -> $"""{outcome}: {textOf "detail" event}"""

    let duration = event.GetProperty("durationSeconds").GetDouble() * 1000.0

    $"""{clockTime event}  {shortId event, -8}    {textOf "clone" event}  {detail}  {plural (textOf "attempts" event) "attempt"}  {Math.Round(duration, 1)} ms"""

/// Turns events into the lines that people read. With a filter a request's line comes before its first copy's, and not at all
/// without one.
[<Sealed>]
type TapLines(isFiltered: bool) =
    static let mostRemembered = 10_000
    // Lines of requests none of whose copies was shown, by their ids, and these in the order in which they came.
    let waiting = Dictionary<string, string>()
    let order = Queue<string>()

    let remember (id: string) (line: string) =
        waiting[id] <- line
        order.Enqueue id

        if order.Count > mostRemembered then
            waiting.Remove(order.Dequeue()) |> ignore

    /// The lines for one event.
    member _.Next(event: JsonElement) : string list =
        match textOf "kind" event with
        | "request" when isFiltered && textOf "reason" event = "" ->
            remember (textOf "request" event) (requestLine event)
            []
        | "request" -> [ requestLine event ]
        | "copy" ->
            let id = textOf "request" event

            match waiting.TryGetValue id with
            | true, line ->
                waiting.Remove id |> ignore
                [ line; copyLine event ]
            | false, _ -> [ copyLine event ]
        | "missed" -> [ $"""{textOf "events" event} more events came faster than they were read""" ]
        // Of a later version.
        | _ -> []

let private follow
    (output: TextWriter)
    (command: TapCommand)
    (reader: StreamReader)
    (stop: CancellationToken)
    = task {
    let lines = TapLines(command.OnlyFailed || command.Clone.IsSome)
    let mutable isOpen = true

    while isOpen do
        match! reader.ReadLineAsync stop with
        | null -> isOpen <- false
        | line when command.Output = OutputFormat.Json -> output.WriteLine line
        | line ->
            use document = JsonDocument.Parse line

            for line in lines.Next document.RootElement do
                output.WriteLine(line: string)
}

/// Prints until `stop`, and returns the exit code: 0 if it was stopped, 1 if there is no proxy or it has ended.
let run
    (output: TextWriter)
    (errors: TextWriter)
    (stop: CancellationToken)
    (command: TapCommand)
    : Task<int> = task {
    use handler = new SocketsHttpHandler(UseProxy = false)
    use client = new HttpClient(handler, Timeout = Timeout.InfiniteTimeSpan)

    try
        use! response =
            client.GetAsync(uriOf command, HttpCompletionOption.ResponseHeadersRead, stop)

        if response.IsSuccessStatusCode then
            use! stream = response.Content.ReadAsStreamAsync stop
            use reader = new StreamReader(stream)
            do! follow output command reader stop
            errors.WriteLine "k8sreq: the proxy has ended"
            return 1
        else
            let! reason = response.Content.ReadAsStringAsync stop
            errors.WriteLine $"k8sreq: {reason.Trim()}"
            return 1
    with
    | :? OperationCanceledException when stop.IsCancellationRequested -> return 0
    | :? HttpRequestException
    | :? IOException
    | :? JsonException as error ->
        errors.WriteLine(AnswerText.unreachable command.Addr error)
        return 1
}
