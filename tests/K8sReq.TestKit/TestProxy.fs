namespace K8sReq.TestKit

open System
open System.Collections.Concurrent
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host.Commands
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

/// Keeps what is logged.
[<Sealed>]
type LogKeeper() =
    let lines = ConcurrentQueue<string>()
    let debugLines = ConcurrentQueue<string>()
    /// From Information on.
    member _.Lines = List.ofSeq lines
    member _.DebugLines = List.ofSeq debugLines

    interface ILogger with
        member _.BeginScope _ = null
        member _.IsEnabled level = level >= LogLevel.Debug

        member _.Log(level, _, state, error, formatter) =
            if level >= LogLevel.Information then
                lines.Enqueue $"{level}: {formatter.Invoke(state, error)} {error}"
            elif level = LogLevel.Debug then
                debugLines.Enqueue(formatter.Invoke(state, error))

    interface ILoggerFactory with
        member _.AddProvider _ = ()

        member keeper.CreateLogger category =
            if category = "k8sreq" then
                keeper
            else
                Abstractions.NullLogger.Instance

        member _.Dispose() = ()

/// The proxy within the test's process, over real sockets and a real folder.
[<Sealed>]
type TestProxy private (folder: TestFolder, log: LogKeeper, launched: Serve.Launched, running: Serve.Running)
    =
    let stopped =
        lazy
            (task {
                launched.Stop()
                let! struct (totals, _) = launched.Ended
                return totals
            })

    static let defaults: Settings =
        match
            Settings.parse Map.empty [
                "--manifests=x"
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
                // All tests run on each transport, by this variable.
                match Environment.GetEnvironmentVariable "EVENT_LOOPS" with
                | null -> ()
                | loops -> $"--event-loops={loops}"
            ]
        with
        | Ok settings -> settings
        | Error errors -> failwith $"{errors}"

    static member Start
        (manifests: string, ?change: Settings -> Settings, ?clock: TimeProvider)
        : Task<TestProxy> = task {
        let folder = new TestFolder()
        folder.Write("all.yaml", manifests)
        let log = new LogKeeper()

        let settings =
            (defaultArg change id) {
                defaults with
                    Manifests = Some folder.Path
            }

        let clock = defaultArg clock TimeProvider.System
        let source = FolderSource.create log clock folder.Path

        let launched =
            Serve.launch
                log
                clock
                (fun () -> Ok source)
                "test"
                "test-0"
                (TelemetrySettings.ofEnvironment Map.empty)
                settings

        match! launched.Started with
        | Ok running ->
            do! running.RoutesKnown.WaitAsync Waiting.patience
            return new TestProxy(folder, log, launched, running)
        | Error error -> return failwith $"{error}"
    }

    member _.Port = running.ProxyPort
    member _.ProbePort = running.ProbePort
    member _.MetricsPort = running.MetricsPort
    member _.StatusPort = running.StatusPort
    member _.Folder = folder
    member _.Log = log.Lines
    member _.DebugLog = log.DebugLines
    member _.Totals = running.Totals()
    member _.Stop() = stopped.Value

    /// Completed once no accepted copy is pending.
    member _.Settled() : Task<unit> =
        Waiting.until "all copies to have ended" (fun () -> Task.FromResult(running.Totals().Pending = 0L))

    interface IDisposable with
        member _.Dispose() =
            stopped.Value.GetAwaiter().GetResult() |> ignore
            (folder :> IDisposable).Dispose()
