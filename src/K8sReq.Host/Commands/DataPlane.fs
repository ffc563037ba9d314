namespace K8sReq.Host.Commands

open System
open System.Collections.Concurrent
open System.Diagnostics.Metrics
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Journal
open K8sReq.Proxy

module private CopyReport =
    // What became of copies, for the operator.
    let reportCopy
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

    let laneEvents (logger: ILogger) : LaneEvents = {
        Overflowed = fun target -> ProxyLog.laneOverflowed logger (string target.Clone) target.Endpoint
        Recovered =
            fun target count -> ProxyLog.laneRecovered logger (string target.Clone) target.Endpoint count
    }

/// What takes requests and sends copies: lanes, connections to targets, accounts, and the handler of the proxy's port.
/// Disposed after the copies have ended.
[<Sealed>]
type DataPlane
    (
        logger: ILogger,
        clock: TimeProvider,
        version: string,
        telemetry: TelemetrySettings,
        settings: Settings,
        // Told of every new routing once requests read it.
        published: Routing -> unit
    ) =
    // Set once, when the program is to stop.
    let mutable isStopping = false
    // Requests that wait for the routes are refused.
    let refusing = new CancellationTokenSource()
    // Copies under way are cut off.
    let abandoning = new CancellationTokenSource()
    let holder = SnapshotHolder()
    let accounts = CopyAccounts()
    let events = CopyReport.laneEvents logger
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
        CopyReport.reportCopy clock http failures abandoned (fun () -> abandoning.IsCancellationRequested)

    let handler =
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
            IsDraining = fun () -> Volatile.Read &isStopping
            Budget = budget
            Accounts = accounts
            Tracing = tracing
            Clock = clock
            ReadTimeout = settings.ReadTimeout
            BodySizeLimit = settings.BodySizeLimit
            ViaName = settings.ViaName
        }

    let closeSlots (_: obj | null) =
        for entry in clones.Unordered do
            entry.Statistics.CloseSlot()

    let slots =
        clock.CreateTimer(TimerCallback closeSlots, clones, CopyHistory.SlotLength, CopyHistory.SlotLength)

    member _.Handler: HttpHandler = handler
    member _.Snapshots = holder
    member _.Accounts = accounts
    member _.Clones = clones
    member _.Http = http
    member _.Budget = budget
    member _.Meter = meter
    member _.Refusals = refusals

    /// Whether requests are answered by the routes, and will be for a while.
    member _.IsReady = holder.IsKnown && not (Volatile.Read &isStopping)

    /// Puts a routing in force, and retires the lanes that it has no more. One caller at a time.
    member _.Publish(routing: Routing) : unit =
        let update = lanes.Update(routing.Routes, routing.ChangedHosts)

        holder.Publish {
            Table = Routing.table routing
            Counts = routing.Counts
            Hosts = update.Hosts
        }

        for lane in update.Gone do
            lane.Retire()

        clones.Remove(routing.ChangedClones |> Set.filter (routing.Clones.ContainsKey >> not))
        published routing

    /// Not ready from now on, and no request waits for the routes any longer: nobody knows whether those ever come.
    member _.BecomeUnready() : unit =
        Volatile.Write(&isStopping, true)
        refusing.Cancel()

    /// Every copy under way ends at once.
    member _.Abandon() : unit = abandoning.Cancel()

    /// Logs whose copies were cut off.
    member _.TellAbandoned() : unit =
        for KeyValue(target, copies) in abandoned do
            ProxyLog.abandoned logger (string target.Clone) target.Endpoint copies

    interface IDisposable with
        member _.Dispose() =
            refusing.Cancel()
            slots.Dispose()
            connections.Dispose()
            (failures :> IDisposable).Dispose()
            meter.Dispose()
            (tracing :> IDisposable).Dispose()
