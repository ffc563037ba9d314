/// Lines of the log as JSON objects, whatever is logged.
module K8sReq.Host.Tests.JsonLogFormatterTests

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Text
open System.Text.Json
open Expecto
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open K8sReq.Host
open K8sReq.Proxy
open K8sReq.TestKit

let private time = DateTimeOffset(2026, 1, 31, 13, 2, 3, 45, TimeSpan.FromHours 1.0)

let private lineOf level message (fields: (string * obj | null) list) error activity =
    JsonLogFormatter.Line(
        time,
        level,
        "k8sreq",
        EventId(6, "CopyFailed"),
        message,
        [ for name, value in fields -> KeyValuePair<string, obj | null>(name, value) ],
        error,
        activity
    )

let private infoOf message fields =
    lineOf LogLevel.Information message fields null null

/// The names of an object in their order, each with its value as it stands there.
let private read (line: string) : (string * string) list = [
    for field in JsonDocument.Parse(line).RootElement.EnumerateObject() ->
        field.Name, field.Value.GetRawText()
]

/// What is logged now, through a logger.
let private logged (log: ILogger -> unit) : string =
    let formatter = JsonLogFormatter(TestClock())
    use output = new StringWriter()

    let logger = {
        new ILogger with
            member _.BeginScope _ = null
            member _.IsEnabled _ = true

            member _.Log(level, event, state, error, text) =
                let entry = LogEntry<_>(level, "k8sreq", event, state, error, text)
                formatter.Write(&entry, null, output)
    }

    log logger
    output.ToString()

// Characters that something may go wrong with.
let private odd = [|
    "a"
    "\""
    "\\"
    "\n"
    "\r"
    "\t"
    "\000"
    "\027"
    "\u0085"
    "\u2028"
    "\ud83d\ude00"
    "\ud83d"
    "\ude00"
    "é"
    "漢"
    "<"
    "\uffff"
|]

let private oddText (random: Random) (length: int) : string =
    String.concat "" [ for _ in 1..length -> odd[random.Next odd.Length] ]

let tests =
    testList "a line of the log as JSON" [
        test "has what pipelines look for, under the names that they know, and then its own values" {
            let fields: (string * obj | null) list = [
                "Clone", box "shop/a"
                "Attempts", box (Quantity.create "attempt" 2L)
                "DurationMs", box 1.5
                "IsLast", box true
                "TraceId", box "0af7651916cd43dd8448eb211c80319c"
                "Nothing", null
                "{OriginalFormat}", box "{Clone}…"
            ]

            Expect.equal
                (read (lineOf LogLevel.Warning "a \"b\"" fields null null))
                [
                    "time", "\"2026-01-31T12:02:03.045Z\""
                    "level", "\"warn\""
                    "msg", "\"a \\\"b\\\"\""
                    "logger", "\"k8sreq\""
                    "event", "\"copy_failed\""
                    "event_id", "6"
                    "clone", "\"shop/a\""
                    "attempts", "2"
                    "duration_ms", "1.5"
                    "is_last", "true"
                    "trace_id", "\"0af7651916cd43dd8448eb211c80319c\""
                    "nothing", "null"
                ]
                "all of it"
        }

        test "has one of four levels" {
            Expect.equal
                [
                    for level in
                        [
                            LogLevel.Trace
                            LogLevel.Debug
                            LogLevel.Information
                            LogLevel.Warning
                            LogLevel.Error
                            LogLevel.Critical
                        ] -> read (lineOf level "" [] null null) |> List.item 1 |> snd
                ]
                [ "\"debug\""; "\"debug\""; "\"info\""; "\"warn\""; "\"error\""; "\"error\"" ]
                "as pipelines have them"
        }

        test "has each name once, whatever the values are called" {
            let fields: (string * obj | null) list = [
                for name in
                    [
                        "Time"
                        "Level"
                        "msg"
                        "Logger"
                        "Event"
                        "EventId"
                        "Error"
                        "Stack"
                        "A"
                        "a"
                        "A"
                    ] -> name, box name
            ]

            let names =
                read (lineOf LogLevel.Error "" fields (exn "broken") null) |> List.map fst

            Expect.equal (List.distinct names) names "no name twice"

            Expect.equal
                (List.skip 6 names)
                [
                    "time_2"
                    "level_2"
                    "msg_2"
                    "logger_2"
                    "event_2"
                    "event_id_2"
                    "error_2"
                    "stack_2"
                    "a"
                    "a_2"
                    "a_3"
                    "error"
                    "error_type"
                    "stack"
                ]
                "a number after the name"
        }

        test "has an exception in values of its own" {
            let line =
                logged (fun logger ->
                    try
                        invalidOp "line one\nline two"
                    with error ->
                        Log.unexpected logger error)

            Expect.equal (line.Split '\n').Length 2 "one line"
            let fields = Map.ofList (read (line.TrimEnd '\n'))
            Expect.equal fields["error"] "\"line one\\nline two\"" "its message"
            Expect.equal fields["error_type"] "\"System.InvalidOperationException\"" "its type"
            Expect.stringContains fields["stack"] "JsonLogFormatterTests" "where it was"
            Expect.equal fields["level"] "\"error\"" "its level"
        }

        test "has the trace that it was logged in, unless it names one itself" {
            use source = new ActivitySource "k8sreq.test"

            use listener =
                new ActivityListener(
                    ShouldListenTo = (fun source -> source.Name = "k8sreq.test"),
                    Sample = (fun _ -> ActivitySamplingResult.AllData)
                )

            ActivitySource.AddActivityListener listener

            match source.StartActivity "work" with
            | null -> failtest "no activity"
            | activity ->
                use activity = activity
                let within = Map.ofList (read (lineOf LogLevel.Information "" [] null activity))
                Expect.equal within["trace_id"] $"\"{activity.TraceId.ToHexString()}\"" "trace"
                Expect.equal within["span_id"] $"\"{activity.SpanId.ToHexString()}\"" "span"

                let named =
                    Map.ofList (read (lineOf LogLevel.Information "" [ "TraceId", box "f" ] null activity))

                Expect.equal named["trace_id"] "\"f\"" "its own"
                Expect.isFalse (named.ContainsKey "span_id") "no span of another trace"
        }

        test "is one valid object whatever texts there are, and never too long for a container's log" {
            let random = Random 1

            for n in 1..300 do
                // Some of them much longer than a line may be.
                let text () =
                    oddText random (random.Next(if n % 10 = 0 then 60_000 else 200))

                let error: exn | null = if n % 3 = 0 then exn (text ()) else null

                let line =
                    lineOf
                        LogLevel.Error
                        (text ())
                        [
                            for field in 1 .. random.Next 40 -> oddText random 5 + string field, box (text ())
                        ]
                        error
                        null

                Expect.isLessThan
                    (Encoding.UTF8.GetByteCount line)
                    (16 * 1024)
                    "a container's runtime splits it"

                Expect.isFalse (line |> Seq.exists Char.IsControl) "no control character"
                Expect.isFalse (line.Contains '\u2028') "no line separator"
                // No half of a pair: what is written is what is read.
                Expect.equal (Encoding.UTF8.GetString(Encoding.UTF8.GetBytes line)) line "valid UTF-8"
                let names = read line |> List.map fst
                Expect.equal (List.distinct names) names "no name twice"
                Expect.equal (List.take 4 names) [ "time"; "level"; "msg"; "logger" ] "what each has"
        }

        test "has numbers as numbers, and what JSON has no numbers for as text" {
            let fields: (string * obj | null) list = [
                "A", box 1
                "B", box -2L
                "C", box nan
                "D", box infinity
                "E", box 0.1m
                "F", box (TimeSpan.FromSeconds 1.5)
                "G", box time
                "H", box (Uri "http://a.example/")
            ]

            Expect.equal
                (read (infoOf "" fields) |> List.skip 6)
                [
                    "a", "1"
                    "b", "-2"
                    "c", "\"NaN\""
                    "d", "\"Infinity\""
                    "e", "0.1"
                    "f", "\"00:00:01.5000000\""
                    "g", "\"2026-01-31T12:02:03.0450000Z\""
                    "h", "\"http://a.example/\""
                ]
                "each"
        }

        test "of a long text has the beginning" {
            let text = Map.ofList(read (infoOf (String('a', 100_000)) []))["msg"]
            Expect.equal text ("\"" + String('a', 4000) + "…\"") "cut"
        }
    ]
