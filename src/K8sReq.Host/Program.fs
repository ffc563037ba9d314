/// The program: reads what it is asked to do, does it, and gives the exit code.
/// 0: done or stopped as asked; 1: could not do it; 2: not asked properly.
module K8sReq.Host.Program

open System
open System.Collections
open System.IO
open System.Reflection
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
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
    | Command.Receive settings -> task {
        use signals = new TerminationSignals()
        use loggers = ConsoleLog.create LogDetail.Info LogFormat.Console
        return! Receive.run loggers signals.Received Console.Out settings
      }
    | Command.JournalSql role ->
        printfn $"{PostgresSchema.sql}"
        role |> Option.iter (fun role -> printf $"{PostgresSchema.rights role}")
        Task.FromResult 0
    | Command.Dead command -> Dead.run Console.Out Console.Error command
    | Command.Serve({ Manifests = Some folder } as settings) ->
        withFolder folder (fun () ->
            serve (fun logger -> Ok(FolderSource.create logger TimeProvider.System folder)) settings)
    | Command.Serve settings ->
        let findSource logger =
            match ClusterAccess.find settings.Kubeconfig (environment ()) with
            | Ok access -> Ok(ClusterSource.create logger TimeProvider.System access (identity ()) settings)
            | Error reason ->
                Error
                    $"no cluster can be asked for routes: {reason}. For routes from a folder: --manifests DIR"

        serve findSource settings

[<EntryPoint>]
let main arguments =
    StandardStreams.secure ()
    IgnoredSignals.ignore ()
    InlineSockets.enable ()

    match CommandLine.parse (environment ()) (List.ofArray arguments) with
    | Error errors -> refuse errors
    | Ok command -> (run command).GetAwaiter().GetResult()
