/// The log of the process, on standard error.
module K8sReq.Host.ConsoleLog

open System
open System.Globalization
open System.IO
open System.Text.Json
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Console
open K8sReq.Core

let private levelOf (detail: LogDetail) =
    match detail with
    | LogDetail.Debug -> LogLevel.Debug
    | LogDetail.Info -> LogLevel.Information
    | LogDetail.Warning -> LogLevel.Warning
    | LogDetail.Error -> LogLevel.Error

let private timestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ "

// The logger's own line about dropped lines is plain text in every format; here it becomes an object like the others.
let private asObjects (errors: TextWriter) : TextWriter = {
    new StringWriter() with
        override _.Write(text: string | null) =
            match text with
            | null -> ()
            | text when text.StartsWith '{' -> errors.Write text
            | text ->
                let time =
                    DateTimeOffset.UtcNow.ToString(timestampFormat.TrimEnd(), CultureInfo.InvariantCulture)

                let message = JsonEncodedText.Encode(text.Trim())

                errors.WriteLine(
                    $"{{\"Timestamp\":\"{time}\",\"EventId\":0,\"LogLevel\":\"Warning\",\"Category\":\"k8sreq\",\"Message\":\"{message}\"}}"
                )
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
        logging.AddJsonConsole(fun console ->
            console.UseUtcTimestamp <- true
            console.TimestampFormat <- timestampFormat.TrimEnd())

/// Lines in this format, of this level and above. A slow reader never blocks who logs: lines are dropped then, and the next
/// line says how many.
let create (detail: LogDetail) (format: LogFormat) =
    // The console logger takes what standard error is when it is created.
    let errors = Console.Error

    if format = LogFormat.Json then
        Console.SetError(asObjects errors)

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
