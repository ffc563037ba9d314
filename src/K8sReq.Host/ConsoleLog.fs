/// The log of the process, on standard error.
module K8sReq.Host.ConsoleLog

open System
open System.Collections.Generic
open System.IO
open System.Text.RegularExpressions
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Console
open K8sReq.Core
open K8sReq.Proxy

let private levelOf (detail: LogDetail) =
    match detail with
    | LogDetail.Debug -> LogLevel.Debug
    | LogDetail.Info -> LogLevel.Information
    | LogDetail.Warning -> LogLevel.Warning
    | LogDetail.Error -> LogLevel.Error

let private timestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ "

let private linesDropped = EventId(48, "LogLinesDropped")

// The logger's own line about dropped lines: plain text in every format, with advice for programmers.
let private ownLine =
    Regex(@"^(\d+) message\(s\) dropped", RegexOptions.CultureInvariant)

let private droppedLine (format: LogFormat) (count: int64) =
    let lines = Quantity.create "log line" count
    let message = $"{lines} dropped: standard error is read too slowly"
    let now = TimeProvider.System.GetUtcNow()

    match format with
    | LogFormat.Json ->
        JsonLogFormatter.Line(
            now,
            LogLevel.Warning,
            "k8sreq",
            linesDropped,
            message,
            [ KeyValuePair<string, obj | null>("Count", box count) ],
            null,
            null
        )
    | LogFormat.Console ->
        let time =
            now.UtcDateTime.ToString(timestampFormat, Globalization.CultureInfo.InvariantCulture)

        $"{time}warn: k8sreq[{linesDropped.Id}] {message}"

// Standard error, but with a line of ours in place of the logger's own.
let private inOurWords (format: LogFormat) (errors: TextWriter) : TextWriter = {
    new StringWriter() with
        override _.Write(text: string | null) =
            match text with
            | null -> ()
            | text ->
                let dropped = ownLine.Match text

                if dropped.Success then
                    errors.WriteLine(droppedLine format (Int64.Parse dropped.Groups[1].Value))
                else
                    errors.Write text
}

let private addConsole (format: LogFormat) (logging: ILoggingBuilder) =
    match format with
    | LogFormat.Console ->
        logging.AddSimpleConsole(fun console ->
            console.SingleLine <- true
            console.ColorBehavior <- LoggerColorBehavior.Disabled
            console.UseUtcTimestamp <- true
            console.TimestampFormat <- timestampFormat)
    | LogFormat.Json ->
        // Not AddConsoleFormatter, which reads options by reflection.
        logging.Services.AddSingleton<ConsoleFormatter>(JsonLogFormatter TimeProvider.System)
        |> ignore

        logging.AddConsole(fun console -> console.FormatterName <- JsonLogFormatter.FormatterName)

/// Lines in this format, of this level and above. A slow reader never blocks who logs: lines are dropped then, and the next
/// line says how many.
let create (detail: LogDetail) (format: LogFormat) =
    // The console logger takes what standard error is when it is created.
    let errors = Console.Error
    Console.SetError(inOurWords format errors)

    let loggers =
        LoggerFactory.Create(fun logging ->
            (logging
                .SetMinimumLevel(levelOf detail)
                // The server's own lines repeat what ours say; one of its warnings, that HTTP/2 needs TLS, is not true here.
                .AddFilter("Microsoft", LogLevel.Error)
             |> addConsole format)
                .Services.Configure<ConsoleLoggerOptions>(fun (options: ConsoleLoggerOptions) ->
                    options.LogToStandardErrorThreshold <- LogLevel.Trace
                    // A slow reader never blocks who logs.
                    options.QueueFullMode <- ConsoleLoggerQueueFullMode.DropWrite)
            |> ignore)

    Console.SetError errors
    loggers
