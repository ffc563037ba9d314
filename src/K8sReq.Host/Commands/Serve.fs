/// The proxy, put together: sources, routing, servers, and the order in which they start and stop.
module K8sReq.Host.Commands.Serve

open System
open System.Collections.Concurrent
open System.Diagnostics.Metrics
open System.Runtime.CompilerServices
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Host.Admin
open K8sReq.Host.Admin.Status
open K8sReq.Journal
open K8sReq.Proxy
open K8sReq.Host.Commands.Listeners
open K8sReq.Kubernetes
open K8sReq.Host.Telemetry

// The shutdown does not wait longer for an API server that does not answer.
let private shutdownTimeout = TimeSpan.FromSeconds 4.0

// Nor for copies that have been told to end, and that end at once.
let private longestAbandoning = TimeSpan.FromSeconds 5.0

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
    /// Ends it, because it was told to or because a part has failed: stops listening, waits for the copies that are under
    /// way, for a limited time, and gives the totals and the exit code. To be called once.
    Stop: LifecycleSignal -> Task<struct (CopyTotals * int)>
    /// Completed only if a part ended that never should.
    Failed: Task<exn>
}

// What became of copies, for whoever operates this.
let private reportCopy
    (clock: TimeProvider)
    (http: HttpMetrics)
    (failures: FailureLog)
    (abandoned: ConcurrentDictionary<Target, int>)
    (isAbandoning: unit -> bool)
    : AcceptedRequest -> Lane -> CopyEnd -> TimeSpan -> unit =
    fun request lane (struct (outcome, attempts)) duration ->
        if TargetOutcome.isDelivered outcome then
            http.Delivered duration
        else
            let failure = {
                At = clock.GetUtcNow()
                Target = lane.Target
                Outcome = outcome
                Attempts = attempts
                Duration = duration
                TraceId =
                    match request.Trace with
                    | null -> ""
                    | trace -> trace.TraceId
            }

            lane.Statistics.Keep failure

            match outcome with
            // A full lane tells of its drops itself.
            | TargetOutcome.Overflowed -> ()
            | TargetOutcome.Cancelled when isAbandoning () ->
                abandoned.AddOrUpdate(lane.Target, 1, (fun _ count -> count + 1)) |> ignore
            | _ -> failures.Tell failure

let private laneEvents (logger: ILogger) : LaneEvents = {
    Overflowed = fun target -> ProxyLog.laneOverflowed logger (string target.Clone) target.Endpoint
    Recovered = fun target count -> ProxyLog.laneRecovered logger (string target.Clone) target.Endpoint count
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

/// Starts the proxy: binds every port, then begins to follow the routes. Requests that come before the routes are known
/// wait for them. `instance` is what this replica is called among the others.
let start
    (loggers: ILoggerFactory)
    (clock: TimeProvider)
    (source: RouteSource)
    (version: string)
    (instance: string)
    (telemetry: TelemetrySettings)
    (settings: Settings)
    : Task<Result<Running, UnboundAddress list>> =
    let loggers = LimitedLoggers.create clock loggers
    let logger = loggers.CreateLogger "k8sreq"
    // Set at once when it is to stop; routes are followed for as long as requests come in.
    let isStopping = ref false
    let unfollowing = new CancellationTokenSource()
    let refusing = new CancellationTokenSource()
    let abandoning = new CancellationTokenSource()
    let holder = SnapshotHolder()
    let accounts = CopyAccounts()
    let events = laneEvents logger
    let clones = CloneDirectory()
    let failures = new FailureLog(logger, clock)
    let budget = BufferBudget settings.BufferBytes
    let meter = new Meter("k8sreq", version)
    let http = HttpMetrics meter
    let tracing = new Tracing(version, telemetry.TraceForms)
    let refusals = RefusalLog(logger, clock)
    let paces = RetryPaces(clock, settings.RetriesPerSecond)
    let turns = Turns Environment.ProcessorCount
    let abandoned = ConcurrentDictionary<Target, int>()

    let lanes =
        LaneDirectory(fun target ->
            let entry = clones.Of target.Clone
            let lane = Lane(clock, turns, target, settings.Lane, events, entry.Statistics)
            entry.Add lane
            lane)

    let publish (routing: Routing) =
        let update = lanes.Update(routing.Routes, routing.ChangedHosts)

        holder.Publish {
            Table = Routing.table routing
            Counts = routing.Counts
            Hosts = update.Hosts
        }

        for lane in update.Gone do
            lane.Retire()

        clones.Remove(routing.ChangedClones |> Set.filter (routing.Clones.ContainsKey >> not))
        source.Published routing

    let policy = {
        MostPerHost = settings.MaxClonesPerHost
        AllowsLocal = settings.AllowLocalTargets |> Option.defaultValue settings.Manifests.IsSome
        OwnPorts =
            set [
                settings.HttpAddr.Port
                settings.ProbeAddr.Port
                settings.MetricsAddr.Port
                settings.StatusAddr.Port
            ]
    }

    let controller = Controller(logger, policy, source.Scopes, holder, publish)

    let client, connections =
        TargetClient.create
            clock
            {
                Timeouts = {
                    Write = settings.WriteTimeout
                    Read = settings.ReadTimeout
                }
                MaxAge = settings.TargetConnectionMaxAge
            }
            abandoning.Token

    let reportCopy =
        reportCopy clock http failures abandoned (fun () -> abandoning.IsCancellationRequested)

    let proxy =
        DuplicateHandler.create {
            RoutesKnown = holder.WaitUntilKnown(clock, settings.ReadTimeout, refusing.Token)
            Hosts = fun () -> holder.Current.Hosts
            Delivery = {
                Client = client
                Clock = clock
                Jitter = Random.Shared.NextDouble
                Store = MemoryStore.create ()
                Attempted =
                    fun request lane number outcome duration ->
                        accounts.AttemptEnded(lane.Statistics, number, outcome)
                        http.Sent(request.Request.Method, outcome, duration)
                Ended =
                    fun request lane (struct (outcome, _) as ended) duration ->
                        try
                            reportCopy request lane ended duration
                        finally
                            accounts.Ended(lane.Statistics, outcome, duration)
                Unexpected = fun error -> Log.unexpected logger error
                PaceRetry = fun lane -> paces.Take lane.Target.Clone.Namespace
                Stop = abandoning.Token
            }
            Answered = fun method protocol status duration -> http.Served(method, protocol, status, duration)
            Refusals = refusals
            Failed = Log.unexpected logger
            IsDraining = fun () -> Volatile.Read &isStopping.contents
            Budget = budget
            Accounts = accounts
            Tracing = tracing
            Clock = clock
            ReadTimeout = settings.ReadTimeout
            BodySizeLimit = settings.BodySizeLimit
            ViaName = settings.ViaName
        }

    let isReady () =
        holder.IsKnown && not (Volatile.Read &isStopping.contents)

    let families () =
        Metrics.families {
            Version = version
            Http = http
            Clones = clones
            Source = source.Metrics
            Budget = budget
            Routes = fun () -> holder.Current.Counts
            IsReady = isReady
        }

    let export =
        OtlpExport.start (Log.telemetryProblem logger) telemetry clock version instance meter families

    let pageReaders = new CancellationTokenSource()

    let status = {
        Version = version
        Instance = instance
        StartedAt = clock.GetUtcNow()
        Clock = clock
        IsReady = isReady
        Table = fun () -> holder.Current.Table
        Counts = fun () -> holder.Current.Counts
        Clones = clones
        Totals = fun () -> accounts.Totals
        Requests = fun () -> http.Requests
        Source = source.Metrics
        Budget = budget
    }

    // Of the probes, the metrics and the page: a few for each who has to do with them, out of the descriptors that are kept.
    let adminLimits: ServerLimits = {
        Headers = settings.ReadTimeout
        Idle = settings.IdleTimeout
        Connections = Some 96
        Memory = None
        HighestDescriptor = Int32.MaxValue
        Exhausted = Log.acceptFailed logger
    }

    let proxyLimits: ServerLimits = {
        adminLimits with
            HighestDescriptor = ConnectionMemory.highestDescriptor ()
            Connections = Some(settings.MaxConnections |> Option.defaultWith ConnectionMemory.mostConnections)
            Memory =
                Some {
                    Budget = budget
                    Shares = ClientShares()
                }
    }

    let listeners = [
        {
            Name = "Probes"
            Setting = "PROBE_ADDR"
            Address = settings.ProbeAddr
            RunsInline = false
            Refused = fun _ _ -> ()
            Limits = adminLimits
            Handler = Probes.handler isReady
        }
        {
            Name = "Metrics"
            Setting = "METRICS_ADDR"
            Address = settings.MetricsAddr
            RunsInline = false
            Refused = fun _ _ -> ()
            Limits = adminLimits
            Handler = Metrics.handler families
        }
        {
            Name = "Status page"
            Setting = "STATUS_ADDR"
            Address = settings.StatusAddr
            RunsInline = false
            Refused = fun _ _ -> ()
            Limits = adminLimits
            Handler = StatusPage.handler status settings.StatusAddr StatusPage.usualInterval pageReaders.Token
        }
        {
            Name = "Proxy"
            Setting = "HTTP_ADDR"
            Address = settings.HttpAddr
            RunsInline = true
            // Of the request no more is known than that it is none.
            Refused =
                fun status reason ->
                    http.Served("", "", status, TimeSpan.Zero)
                    refusals.Tell(status, reason, "")
            Limits = proxyLimits
            Handler = proxy
        }
    ]

    let closeSlots (_: obj | null) =
        for entry in clones.Unordered do
            entry.Statistics.CloseSlot()

    let slots =
        clock.CreateTimer(TimerCallback closeSlots, clones, CopyHistory.SlotLength, CopyHistory.SlotLength)

    // Given back in the opposite order.
    let resources = new Resources()
    resources.Own tracing |> ignore
    resources.Own meter |> ignore
    resources.Own export |> ignore
    resources.Own failures |> ignore
    resources.Own connections |> ignore

    // Written by `advance` alone, which runs once at a time: at the start, and then at the end.
    let servers: HttpServer list ref = ref []
    let following: Task list ref = ref []
    let life = ref Lifecycle.initial
    let shutdown = ref CancellationToken.None

    // Clients and balancers are to notice that this replica is going, and nobody knows whether routes that are still waited
    // for will ever come.
    let becomeUnready () =
        Volatile.Write(&isStopping.contents, true)
        refusing.Cancel()

    let close () = task {
        becomeUnready ()
        let timeout = new CancellationTokenSource(settings.GracefulShutdownTimeout, clock)
        resources.Own timeout |> ignore
        shutdown.Value <- timeout.Token
        do! (List.last servers.Value).StopAsync timeout.Token
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

    let release () = task {
        refusing.Cancel()

        for KeyValue(target, copies) in abandoned do
            ProxyLog.abandoned logger (string target.Clone) target.Endpoint copies

        // What has to be given back to the cluster: see Leadership. Neither waits for long by itself.
        let! _ =
            Task.WhenAny(
                Task.WhenAll following.Value,
                Task.Delay(shutdownTimeout, clock, CancellationToken.None)
            )

        (resources :> IDisposable).Dispose()
        slots.Dispose()
        pageReaders.Cancel()

        // The proxy's own is the last one and was closed before.
        for server in List.truncate 3 servers.Value do
            do! server.StopAsync CancellationToken.None
    }

    // Does what is to be done after a signal, and what comes of that, until there is nothing more to do.
    let rec advance (signal: LifecycleSignal) : Task<unit> = task {
        let next, action = Lifecycle.step settings.ShutdownDelay life.Value signal
        life.Value <- next

        match action with
        | LifecycleAction.Nothing -> ()
        | LifecycleAction.Follow ->
            // Ready means that the routes are known, and they are asked for only once every port is bound.
            following.Value <-
                controller.RunAsync unfollowing.Token
                :: source.Run controller.Post unfollowing.Token
        | LifecycleAction.Leave delay ->
            becomeUnready ()
            do! Task.Delay(delay, clock)
            do! advance LifecycleSignal.DelayEnded
        | LifecycleAction.Close ->
            do! close ()
            do! advance LifecycleSignal.ListenerClosed
        | LifecycleAction.Drain ->
            let! ended = copiesEnd (accounts.WhenIdle().WaitAsync shutdown.Value)
            do! advance ended
        | LifecycleAction.Abandon ->
            abandoning.Cancel()
            // Each of them ends at once now; what is counted is then complete.
            let! ended =
                copiesEnd (accounts.WhenIdle().WaitAsync(longestAbandoning, clock, CancellationToken.None))

            do! advance ended
        | LifecycleAction.Release -> do! release ()
    }

    task {
        match! Listeners.startAll loggers listeners with
        | Error unbound ->
            do! advance LifecycleSignal.BindFailed
            return Error unbound
        | Ok started ->
            servers.Value <- started
            do! advance LifecycleSignal.PortsBound

            let stop (signal: LifecycleSignal) = task {
                // Nothing is to be done when the routes become known, so it is told of when it matters.
                if holder.IsKnown then
                    do! advance LifecycleSignal.RoutesKnown

                do! advance signal
                return struct (accounts.Totals, life.Value.ExitCode)
            }

            return
                Ok {
                    ProxyPort = started[3].Port
                    ProbePort = started[0].Port
                    MetricsPort = started[1].Port
                    StatusPort = started[2].Port
                    RoutesKnown = holder.WhenKnown
                    Totals = fun () -> accounts.Totals
                    Stop = stop
                    Failed = firstFailure following.Value
                }
    }
