/// The program: reads what it is asked to do, does it, and gives the exit code.
/// 0: done or stopped as asked; 1: could not do it; 2: not asked properly.
module K8sReq.Host.Program

open System
open System.Collections
open System.IO
open System.Reflection
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host.Arguments
open K8sReq.Host.Commands
open K8sReq.Journal.Postgres
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

// What this replica is called among the others.
let private identity () =
    match environment().TryFind "POD_NAME" with
    | Some name when name <> "" -> name
    | _ -> Environment.MachineName

let private serve (findSource: ILogger -> Result<RouteSource, string>) (settings: Settings) : Task<int> = task {
    use signals = new TerminationSignals()
    use loggers = ConsoleLog.create settings.LogDetail settings.LogFormat

    // The library that sends telemetry reads its variables itself.
    for name, value in settings.OpenTelemetry do
        Environment.SetEnvironmentVariable(name, value)

    let telemetry = TelemetrySettings.ofEnvironment (environment ())
    return! Serve.run loggers signals.Received findSource version (identity ()) telemetry settings
}

// Without the commit, which a plus sign sets apart.
let private shortVersion = version.Split('+')[0]

let private refuse (errors: string list) =
    for error in errors do
        eprintfn $"k8sreq: {error}"

    2

let private withFolder folder run =
    if Directory.Exists folder then
        run ()
    elif File.Exists folder then
        Task.FromResult(
            refuse [
                $"--manifests takes a folder, and \"{folder}\" is a file; `k8sreq check` takes files too"
            ]
        )
    else
        Task.FromResult(refuse [ $"the folder of manifests \"{folder}\" does not exist" ])

let private serveFrom (settings: Settings) : Task<int> =
    match settings.Manifests with
    | Some folder ->
        withFolder folder (fun () ->
            serve (fun logger -> Ok(FolderSource.create logger TimeProvider.System folder)) settings)
    | None ->
        let findSource logger =
            match ClusterAccess.find settings.Kubeconfig (environment ()) with
            | Ok access -> Ok(ClusterSource.create logger TimeProvider.System access (identity ()) settings)
            | Error reason ->
                Error
                    $"no cluster can be asked for routes: {reason}. For routes from a folder: --manifests DIR"

        serve findSource settings

let private receive (settings: ReceiverSettings) : Task<int> = task {
    use signals = new TerminationSignals()
    use loggers = ConsoleLog.create LogDetail.Info LogFormat.Console
    return! Receive.run loggers signals.Received Console.Out settings
}

let private tap (command: TapCommand) : Task<int> = task {
    use signals = new TerminationSignals()
    use stop = new CancellationTokenSource()

    let stopping = task {
        let! _ = signals.Received
        stop.Cancel()
    }

    let! code = TapCommand.run Console.Out Console.Error stop.Token command
    // Without a signal it never ends, and nobody waits for it.
    ignore stopping
    return code
}

let private print (text: string) : Task<int> =
    printf $"{text}"
    Task.FromResult 0

let private run (command: Command) : Task<int> =
    match command with
    | Command.Print text -> print text
    | Command.Version isVerbose -> print $"k8sreq {if isVerbose then version else shortVersion}\n"
    | Command.Completion shell -> print (Completion.script shell)
    | Command.JournalSql role ->
        let rights = role |> Option.map PostgresSchema.rights |> Option.defaultValue ""

        print $"{PostgresSchema.sql}\n{rights}"
    | Command.Check command -> Task.FromResult(Check.run Check.standardInput Console.Out command)
    | Command.Receive settings -> receive settings
    | Command.Send command ->
        Send.run TimeProvider.System StandardStreams.openInput Console.Out Console.Error command
    | Command.Tap command -> tap command
    | Command.Doctor command -> Doctor.run (environment ()) Console.Out command
    | Command.Dead command -> Dead.run Console.Out Console.Error command
    | Command.Serve settings -> serveFrom settings

[<EntryPoint>]
let main arguments =
    StandardStreams.secure ()
    IgnoredSignals.ignore ()
    InlineSockets.enable ()

    match CommandLine.parse (environment ()) (List.ofArray arguments) with
    | Error errors -> refuse errors
    | Ok command -> (run command).GetAwaiter().GetResult()
