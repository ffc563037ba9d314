/// The program: reads what it is asked to do, does it, and gives the exit code.
/// 0: done or stopped as asked; 1: could not do it; 2: not asked properly.
module K8sReq.Host.Program

open System
open System.Collections
open System.Diagnostics
open System.Globalization
open System.IO
open System.Reflection
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Console
open K8sReq.Core
open K8sReq.Host.Commands
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

let private environment () =
    Environment.GetEnvironmentVariables()
    |> Seq.cast<DictionaryEntry>
    |> Seq.map (fun entry -> string entry.Key, string entry.Value)
    |> Map.ofSeq

let private version =
    match Assembly.GetExecutingAssembly().GetCustomAttribute<AssemblyInformationalVersionAttribute>() with
    | null -> "unknown"
    | attribute -> attribute.InformationalVersion

let private levelOf (detail: LogDetail) =
    match detail with
    | LogDetail.Debug -> LogLevel.Debug
    | LogDetail.Info -> LogLevel.Information
    | LogDetail.Warning -> LogLevel.Warning
    | LogDetail.Error -> LogLevel.Error

let private timestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ "

// The logger's own word that lines are missing is plain text in every format; here it is an object like the others.
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

let private createLoggers (detail: LogDetail) (format: LogFormat) =
    // Whoever logs takes what standard error is at its start.
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
                    // Nobody who logs waits for whoever reads the log; that lines are missing is said in their place.
                    options.QueueFullMode <- ConsoleLoggerQueueFullMode.DropWrite)
            |> ignore)

    Console.SetError errors
    loggers

// One signal may come twice: `timeout` and some process managers send it to the process and to its group. Nobody asks
// twice in so short a time.
let private signalRepeats = TimeSpan.FromMilliseconds 250.0

/// Completed by SIGTERM or SIGINT, with its name. A second one ends the process at once.
let private watchSignals () : Task<string> * IDisposable list =
    let received =
        TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously)

    let first = StrongBox 0L

    let isRepeated () =
        let now = Stopwatch.GetTimestamp()

        match Interlocked.CompareExchange(&first.Value, now, 0L) with
        | 0L -> true
        | first -> Stopwatch.GetElapsedTime(first, now) < signalRepeats

    let register (signal: PosixSignal) =
        PosixSignalRegistration.Create(
            signal,
            fun context ->
                // Left to itself, the runtime would end the process now. The second time it may.
                context.Cancel <- isRepeated ()
                received.TrySetResult(string signal) |> ignore
        )
        :> IDisposable

    let registrations = [ register PosixSignal.SIGTERM; register PosixSignal.SIGINT ]
    received.Task, registrations

/// What the work gives, or None where a signal comes first: work that waits for something outside, such as a program
/// that gives credentials, must not keep the process from ending.
let private unlessSignalled (signalled: Task<string>) (work: unit -> Task<'T>) : Task<'T option> = task {
    let working = Task.Run<'T>(Func<Task<'T>> work)
    let! _ = Task.WhenAny(signalled :> Task, working)

    if working.IsCompleted then
        let! result = working
        return Some result
    else
        return None
}

// `setting` is what the address is set by, `others` how else.
let private reportBindError (setting: string) (others: string) (error: BindError) =
    eprintfn
        $"k8sreq: cannot listen on {error.Address} ({setting}): {error.Reason}. Choose another address with {others}; port 0 takes any free port"

let private reportUnbound (unbound: Listeners.UnboundAddress list) =
    for address in unbound do
        let flag = "--" + address.Setting.ToLowerInvariant().Replace('_', '-')
        reportBindError address.Setting $"{flag} or {address.Setting}" address.Error

    1

/// What this replica is known by among the others.
let private identity () =
    match environment().TryFind "POD_NAME" with
    | Some name when name <> "" -> name
    | _ -> Environment.MachineName

let private serveFrom
    (createSource: ILogger -> RouteSource)
    (settings: Settings)
    (signalled: Task<string>)
    : Task<int> = task {
    use loggers = createLoggers settings.LogDetail settings.LogFormat
    let logger = loggers.CreateLogger "k8sreq"

    // The library that sends telemetry reads its variables itself.
    for name, value in settings.OpenTelemetry do
        Environment.SetEnvironmentVariable(name, value)

    let telemetry = TelemetrySettings.ofEnvironment (environment ())

    let inForce =
        settings.InForce
        |> List.filter (fun (_, value) -> value <> "")
        |> List.map (fun (name, value) -> $"{name}={value}")
        |> String.concat " "

    Log.starting logger version $"{inForce}; {TelemetrySettings.describe telemetry}"

    if Option.forall (fun limit -> limit > settings.Lane.QueueBytes) settings.BodySizeLimit then
        Log.neverRetried logger settings.Lane.QueueBytes

    let start () =
        Serve.start loggers TimeProvider.System (createSource logger) version (identity ()) telemetry settings

    match! unlessSignalled signalled start with
    | None ->
        let! signal = signalled
        Log.stopping logger signal
        return 0
    | Some(Error unbound) -> return reportUnbound unbound
    | Some(Ok running) ->
        let! ended = Task.WhenAny(signalled, running.Failed)

        let! reason = task {
            if Object.ReferenceEquals(ended, running.Failed) then
                let! error = running.Failed
                Log.fatal logger "Routing" error
                return LifecycleSignal.PartFailed
            else
                let! signal = signalled
                Log.stopping logger signal
                return LifecycleSignal.StopRequested
        }

        let! struct (totals, exitCode) = running.Stop reason
        Log.stopped logger totals.Accepted totals.Delivered totals.Failed totals.Dropped totals.Retries
        return exitCode
}

// `findSource` says why there is no source; nothing is logged then.
let private serve (findSource: unit -> Result<ILogger -> RouteSource, string>) (settings: Settings) = task {
    let signalled, registrations = watchSignals ()

    try
        match! unlessSignalled signalled (fun () -> Task.FromResult(findSource ())) with
        | None -> return 0
        | Some(Error reason) ->
            eprintfn $"k8sreq: {reason}"
            return 2
        | Some(Ok createSource) -> return! serveFrom createSource settings signalled
    finally
        for registration in registrations do
            registration.Dispose()
}

let private receive (settings: ReceiverSettings) : Task<int> = task {
    use loggers = createLoggers LogDetail.Info LogFormat.Console
    let signalled, registrations = watchSignals ()
    let handler = Receive.handler settings.Name Console.Out

    let limits: ServerLimits = {
        Headers = TimeSpan.FromSeconds 30.0
        Idle = TimeSpan.FromSeconds 130.0
        Connections = None
        Memory = None
        HighestDescriptor = System.Int32.MaxValue
        Exhausted = ignore
    }

    match! HttpServer.start loggers false limits settings.Addr handler with
    | Error error ->
        reportBindError "--addr" "--addr" error
        return 1
    | Ok server ->
        printfn $"{settings.Name} receives on port {server.Port}"
        let! _ = signalled
        use giveUp = new CancellationTokenSource(TimeSpan.FromSeconds 1.0)
        do! server.StopAsync giveUp.Token

        for registration in registrations do
            registration.Dispose()

        return 0
}

let private refuse (errors: SettingError list) =
    for error in errors do
        eprintfn $"k8sreq: {Settings.describeError error}"

    2

let private withFolder folder run =
    if Directory.Exists folder then
        run ()
    else
        Task.FromResult(
            refuse [
                SettingError.Invalid("the folder of manifests", folder, "a folder that exists")
            ]
        )

let private run (command: Command) : Task<int> =
    match command with
    | Command.Help ->
        printfn $"{CommandLine.help}"
        Task.FromResult 0
    | Command.Version ->
        printfn $"k8sreq {version}"
        Task.FromResult 0
    | Command.Check path when path = "-" || File.Exists path || Directory.Exists path ->
        Task.FromResult(Check.run Check.standardInput Console.Out path)
    | Command.Check path ->
        Task.FromResult(
            refuse [
                SettingError.Invalid(
                    "what to check",
                    path,
                    "a folder or a file that exists, or - for standard input"
                )
            ]
        )
    | Command.Receive settings -> receive settings
    | Command.Serve({ Manifests = Some folder } as settings) ->
        withFolder folder (fun () ->
            serve
                (fun () -> Ok(fun logger -> FolderSource.create logger TimeProvider.System folder))
                settings)
    | Command.Serve settings ->
        let findSource () =
            match ClusterAccess.find settings.Kubeconfig (environment ()) with
            | Ok access ->
                Ok(fun logger ->
                    ClusterSource.create logger TimeProvider.System access (identity ()) settings)
            | Error reason ->
                Error
                    $"no cluster can be asked for routes: {reason}. For routes from a folder: --manifests DIR"

        serve findSource settings

[<EntryPoint>]
let main arguments =
    StandardStreams.secure ()
    InlineSockets.enable ()

    match CommandLine.parse (environment ()) (List.ofArray arguments) with
    | Error errors -> refuse errors
    | Ok command -> (run command).GetAwaiter().GetResult()
