/// The proxy from its start to its end.
module K8sReq.Host.Commands.Serve

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Host.Commands.Listeners
open K8sReq.Host.Telemetry
open K8sReq.Proxy

// The shutdown does not wait longer for an API server that does not answer.
let private shutdownTimeout = TimeSpan.FromSeconds 4.0

// Nor for copies that have been told to end, and that end at once.
let private longestAbandoning = TimeSpan.FromSeconds 5.0

/// Why it could not be started.
[<RequireQualifiedAccess>]
type StartError =
    /// There is nowhere to get routes from; in words.
    | NoSource of reason: string
    | Unbound of UnboundAddress list

/// A proxy whose ports are all bound. Requests are answered once the routes are known.
[<NoEquality; NoComparison>]
type Running = {
    ProxyPort: int
    ProbePort: int
    MetricsPort: int
    StatusPort: int
    /// Completed once requests are answered by the routes.
    RoutesKnown: Task
    Totals: unit -> CopyTotals
}

/// What was launched.
[<NoEquality; NoComparison>]
type Launched = {
    /// Completed once it is known whether it could be started. Not if it is told to stop before that.
    Started: Task<Result<Running, StartError>>
    /// Tells it to stop: it stops listening, waits for the copies under way, for a limited time, and gives everything back.
    Stop: unit -> unit
    /// Completed at the end, with the totals and the exit code.
    Ended: Task<struct (CopyTotals * int)>
}

// Completed with the first exception of these tasks, unless it is that they were told to stop.
let private firstFailure (background: Task list) : Task<exn> =
    let failed =
        TaskCompletionSource<exn>(TaskCreationOptions.RunContinuationsAsynchronously)

    for running in background do
        running.ContinueWith(
            (fun (ended: Task) ->
                match ended.Exception with
                | null -> ()
                | error -> failed.TrySetResult(error.GetBaseException()) |> ignore),
            TaskScheduler.Default
        )
        |> ignore

    failed.Task

/// Everything that has been started, to be stopped.
[<NoEquality; NoComparison>]
type private Parts = {
    Plane: DataPlane
    /// The proxy's own is the last one.
    Servers: HttpServer list
    Follow: CancellationToken -> Task list
    /// What is to be disposed at the end.
    Resources: Resources
}

/// Launches the proxy: finds the source of its routes, binds every port, then begins to follow the routes. Requests that
/// come before the routes are known wait for them. `instance` is what this replica is called among the others.
let launch
    (loggers: ILoggerFactory)
    (clock: TimeProvider)
    (findSource: unit -> Result<RouteSource, string>)
    (version: string)
    (instance: string)
    (telemetry: TelemetrySettings)
    (settings: Settings)
    : Launched =
    let loggers = LimitedLoggers.create clock loggers
    let logger = loggers.CreateLogger "k8sreq"
    // Routes are followed for as long as requests come in.
    let unfollowing = new CancellationTokenSource()
    let pageReaders = new CancellationTokenSource()

    let started =
        TaskCompletionSource<Result<Running, StartError>>(TaskCreationOptions.RunContinuationsAsynchronously)

    // Each is written by the action that its name tells of, before the signal that leads to any action which reads it.
    let mutable parts: Parts option = None
    let mutable following: Task list = []
    let mutable shutdown = CancellationToken.None
    let mutable post: LifecycleSignal -> unit = ignore

    let build (source: RouteSource) : DataPlane * Controller * Listener list * Resources =
        let resources = new Resources()

        let plane =
            resources.Own(
                new DataPlane(logger, clock, version, instance, telemetry, settings, source.Published)
            )

        let families = ProxyListeners.metricFamilies version settings source.Metrics plane

        resources.Own(
            OtlpExport.start
                (Log.telemetryProblem logger)
                telemetry
                clock
                version
                instance
                plane.Meter
                families
        )
        |> ignore

        let policy = {
            MostPerHost = settings.MaxClonesPerHost
            HasJournal = settings.Journal.IsSome
            Durability = settings.Durability
            DeadLetterKeep =
                settings.Journal
                |> Option.map _.DeadLetterKeep
                |> Option.defaultValue TimeSpan.Zero
            AllowsLocal = settings.AllowLocalTargets |> Option.defaultValue settings.Manifests.IsSome
            OwnPorts =
                set [
                    settings.HttpAddr.Port
                    settings.ProbeAddr.Port
                    settings.MetricsAddr.Port
                    settings.StatusAddr.Port
                ]
        }

        let controller =
            Controller(logger, policy, source.Scopes, plane.Snapshots, plane.Publish)

        let listeners =
            ProxyListeners.create
                logger
                clock
                version
                instance
                settings
                source.Metrics
                plane
                pageReaders.Token

        plane, controller, listeners, resources

    let start () : Task<LifecycleSignal> = task {
        match findSource () with
        | Error reason ->
            started.SetResult(Error(StartError.NoSource reason))
            return LifecycleSignal.StartFailed 2
        | Ok source ->
            let plane, controller, listeners, resources = build source

            match! Listeners.startAll loggers listeners with
            | Error unbound ->
                (resources :> IDisposable).Dispose()
                started.SetResult(Error(StartError.Unbound unbound))
                return LifecycleSignal.StartFailed 1
            | Ok servers ->
                parts <-
                    Some {
                        Plane = plane
                        Servers = servers
                        Follow = fun stop -> controller.RunAsync stop :: source.Run controller.Post stop
                        Resources = resources
                    }

                started.SetResult(
                    Ok {
                        ProxyPort = servers[3].Port
                        ProbePort = servers[0].Port
                        MetricsPort = servers[1].Port
                        StatusPort = servers[2].Port
                        RoutesKnown = plane.Snapshots.WhenKnown
                        Totals = fun () -> plane.Accounts.Totals
                    }
                )

                return LifecycleSignal.PortsBound
    }

    let follow (parts: Parts) =
        following <- parts.Follow unfollowing.Token

        parts.Plane.Snapshots.WhenKnown.ContinueWith(
            (fun (_: Task) -> post LifecycleSignal.RoutesKnown),
            TaskScheduler.Default
        )
        |> ignore

        (firstFailure following)
            .ContinueWith(
                (fun (failed: Task<exn>) ->
                    Log.fatal logger "Routing" failed.Result
                    post LifecycleSignal.PartFailed),
                TaskScheduler.Default
            )
        |> ignore

    let close (parts: Parts) = task {
        parts.Plane.BecomeUnready()

        let timeout =
            parts.Resources.Own(new CancellationTokenSource(settings.GracefulShutdownTimeout, clock))

        shutdown <- timeout.Token
        do! (List.last parts.Servers).StopAsync timeout.Token
        unfollowing.Cancel()
    }

    // Whether all copies have ended in that time.
    let copiesEnd (wait: Task) = task {
        try
            do! wait
            return LifecycleSignal.CopiesFinished
        with
        | :? OperationCanceledException -> return LifecycleSignal.TimedOut
        | :? TimeoutException as error ->
            Log.unexpected logger error
            return LifecycleSignal.TimedOut
    }

    let release (parts: Parts) = task {
        parts.Plane.TellAbandoned()
        unfollowing.Cancel()

        // What has to be given back to the cluster: see Leadership. Neither waits for long by itself.
        let! _ =
            Task.WhenAny(Task.WhenAll following, Task.Delay(shutdownTimeout, clock, CancellationToken.None))

        pageReaders.Cancel()

        // The proxy's own is closed before, unless the start was interrupted.
        for server in List.rev parts.Servers do
            do! server.StopAsync(CancellationToken true)

        (parts.Resources :> IDisposable).Dispose()
    }

    let perform (action: LifecycleAction) : Task<LifecycleSignal option> = task {
        match action, parts with
        | LifecycleAction.Nothing, _ -> return None
        | LifecycleAction.Start, _ ->
            let! signal = start ()
            return Some signal
        // There is nothing to give back, or not yet: see `Lifecycle`.
        | _, None -> return None
        | LifecycleAction.Follow, Some parts ->
            // Ready means that the routes are known, and they are asked for only once every port is bound.
            follow parts
            return None
        | LifecycleAction.Leave delay, Some parts ->
            // Clients and load balancers are to notice that this replica is going.
            parts.Plane.BecomeUnready()
            do! Task.Delay(delay, clock)
            return Some LifecycleSignal.DelayEnded
        | LifecycleAction.Close, Some parts ->
            do! close parts
            return Some LifecycleSignal.ListenerClosed
        | LifecycleAction.Drain, Some parts ->
            // What is in the journal is sent after the next start; only what is on its way is waited for.
            parts.Plane.ShelveDurable()
            let! isDone = Drain.run clock parts.Plane shutdown

            return
                Some(
                    if isDone then
                        LifecycleSignal.CopiesFinished
                    else
                        LifecycleSignal.TimedOut
                )
        | LifecycleAction.Abandon, Some parts ->
            parts.Plane.Abandon()
            // Each of them ends at once now; what is counted is then complete.
            let! ended =
                copiesEnd (
                    parts.Plane.Accounts
                        .WhenIdle()
                        .WaitAsync(longestAbandoning, clock, CancellationToken.None)
                )

            return Some ended
        | LifecycleAction.Release, Some parts ->
            do! release parts
            return None
    }

    let runner = LifecycleRunner(settings.ShutdownDelay, perform)
    post <- runner.Post
    runner.Post LifecycleSignal.Launched

    {
        Started = started.Task
        Stop =
            fun () ->
                // Requests may be answered by the routes a moment before the runner is told so.
                match parts with
                | Some parts when parts.Plane.Snapshots.IsKnown -> runner.Post LifecycleSignal.RoutesKnown
                | Some _
                | None -> ()

                runner.Post LifecycleSignal.StopRequested
        Ended = task {
            let! exitCode = runner.Ended

            let totals =
                match parts with
                | Some parts -> parts.Plane.Accounts.Totals
                | None -> CopyTotals.zero

            return struct (totals, exitCode)
        }
    }

// `setting` is what the address is set by, `others` how else.
let private describeUnbound (address: UnboundAddress) =
    let flag = "--" + address.Setting.ToLowerInvariant().Replace('_', '-')
    BindError.describe address.Setting $"{flag} or {address.Setting}" address.Error

/// Runs the proxy until `signalled` or until it cannot go on, and gives the exit code: 0 stopped as asked, 1 it could not
/// go on, 2 there is no source of routes.
let run
    (loggers: ILoggerFactory)
    (signalled: Task<string>)
    (findSource: ILogger -> Result<RouteSource, string>)
    (version: string)
    (instance: string)
    (telemetry: TelemetrySettings)
    (settings: Settings)
    : Task<int> = task {
    let logger = loggers.CreateLogger "k8sreq"

    let inForce =
        settings.InForce
        |> List.filter (fun (_, value) -> value <> "")
        |> List.map (fun (name, value) -> $"{name}={value}")
        |> String.concat " "

    let announce () =
        Log.starting logger version $"{inForce}; {TelemetrySettings.describe telemetry}"

        if Option.forall (fun limit -> limit > settings.Lane.QueueBytes) settings.BodySizeLimit then
            Log.neverRetried logger settings.Lane.QueueBytes

    // As a command of a shell does; but one that reads objects gets one.
    let tellNotStarted (problem: string) =
        match settings.LogFormat with
        | LogFormat.Json -> Log.notStarted logger problem
        | LogFormat.Console -> eprintfn $"k8sreq: {problem}"

    let find () =
        let found = findSource logger

        // Nothing is logged where nothing can be run.
        if Result.isOk found then
            announce ()

        found

    let launched =
        launch loggers TimeProvider.System find version instance telemetry settings

    let stopWhenSignalled = task {
        let! signal = signalled
        Log.stopping logger signal
        launched.Stop()
    }

    let! struct (totals, exitCode) = launched.Ended

    if launched.Started.IsCompleted then
        match launched.Started.Result with
        | Ok _ ->
            Log.stopped logger totals.Accepted totals.Delivered totals.Failed totals.Dropped totals.Retries

            if settings.Journal.IsSome then
                Log.journalClosed logger totals.Recovered totals.Replayed totals.Expired totals.Pending
        | Error(StartError.NoSource reason) -> tellNotStarted reason
        | Error(StartError.Unbound unbound) ->
            for address in unbound do
                tellNotStarted (describeUnbound address)

    // It waits for a signal that may never come; it has nothing more to tell.
    ignore stopWhenSignalled
    return exitCode
}
