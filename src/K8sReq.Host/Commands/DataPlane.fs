namespace K8sReq.Host.Commands

open System
open System.Diagnostics.Metrics
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Journal
open K8sReq.Proxy

/// What takes requests and sends copies: lanes, connections to targets, accounts, and the handler of the proxy's port.
/// Disposed after the copies have ended.
[<Sealed>]
type DataPlane
    (
        logger: ILogger,
        clock: TimeProvider,
        version: string,
        // What this replica is called among the others.
        instance: string,
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
    let events = CopyReport.LaneEvents logger
    let clones = CloneDirectory()
    let failures = new FailureLog(logger, clock)
    let budget = BufferBudget settings.BufferBytes
    let meter = new Meter("k8sreq", version)
    let http = HttpMetrics meter
    let tracing = new Tracing(version, telemetry.TraceForms)
    let refusals = RefusalLog(logger, clock)
    let tap = Tap()
    let unknownHosts = UnknownHostLog(logger, clock)
    let paces = RetryPaces(clock, settings.RetriesPerSecond)
    let turns = Turns Environment.ProcessorCount

    let transport =
        match settings.EventLoops with
        | Some 0 -> Transport.Sockets
        | _ when not Transport.hasLoops -> Transport.Sockets
        | asked ->
            let usual = Transport.usualLoops Environment.ProcessorCount
            Transport.startLoops (defaultArg asked usual) (Log.unexpected logger)

    let client, connections =
        TargetClient.create
            transport
            clock
            {
                Timeouts = {
                    Write = settings.WriteTimeout
                    Read = settings.ReadTimeout
                }
                MaxAge = settings.TargetConnectionMaxAge
            }
            abandoning.Token

    let report =
        CopyReport(clock, http, accounts, tap, failures, (fun () -> abandoning.IsCancellationRequested))

    // The Services as requests are routed by them, and the policy: what sinks are found by.
    let mutable services: Map<ObjectKey, BackendService> = Map.empty
    let mutable policy = TargetPolicy.permissive

    let sinkOf (target: Target) : Target option =
        Resolution.sinkOf (Volatile.Read &services) target
        |> Option.bind (Result.bind (TargetPolicy.admit (Volatile.Read &policy)) >> Result.toOption)

    let durable =
        settings.Journal
        |> Option.map (fun journal ->
            new DurableParts(
                logger,
                clock,
                journal,
                // One address is used by one program at a time. Pods of two namespaces may have one name.
                String.Join(
                    ' ',
                    [
                        yield! Option.toList settings.LeaderElectionNamespace
                        instance
                        string settings.HttpAddr
                    ]
                ),
                accounts,
                clones,
                client,
                (fun () -> holder.IsKnown && not (Volatile.Read &isStopping)),
                sinkOf,
                abandoning.Token
            ))

    let journal = durable |> Option.map _.Store

    let delivery: DeliveryServices = {
        Client = client
        Clock = clock
        Jitter = Random.Shared.NextDouble
        Store =
            match journal with
            | Some journal -> journal.Store
            | None -> MemoryStore.create ()
        Observer = report
        Unexpected = fun error -> Log.unexpected logger error
        PaceRetry = fun lane -> paces.Take lane.Target.Clone.Namespace
        Stop = abandoning.Token
    }

    let lanes =
        LaneDirectory(fun target ->
            let entry = clones.Of target.Clone
            let lane = Lane(clock, turns, target, settings.Lane, events, entry.Statistics)

            if journal.IsSome then
                let feeder =
                    BacklogFeeder(delivery, budget, settings.Lane.Concurrency, accounts.Loaded, lane)

                lane.Nudge <- Action(feeder.NudgeIfWaiting)

            entry.Add lane
            lane.NudgeNow()
            lane)

    let duplicating: DuplicateServices = {
        RoutesKnown = holder.WaitUntilKnown(clock, settings.ReadTimeout, refusing.Token)
        Hosts = fun () -> holder.Current.Hosts
        Delivery = delivery
        Answered =
            fun answer ->
                http.Served(answer.Method, answer.Protocol, answer.Status, answer.Reason, answer.Duration)
        Refusals = refusals
        UnknownHosts = unknownHosts
        Tap = tap
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

    let handler = DuplicateHandler.create duplicating
    let shares = ClientShares()

    let slots =
        clock.CreateTimer(
            (fun _ -> clones.CloseSlots(clock.GetUtcNow())),
            clones,
            CopyHistory.SlotLength,
            CopyHistory.SlotLength
        )

    member _.Handler: HttpHandler = handler

    /// For the port that takes requests. To be called once.
    member _.CreateTransport() : ServerTransport =
        match transport with
        | Transport.Sockets -> ServerTransport.Inline
        // What is traced, the server serves.
        | Transport.Loops loops when tracing.IsOn -> ServerTransport.Loops(loops, None)
        | Transport.Loops loops ->
            let limits = {
                Headers = settings.ReadTimeout
                Idle = settings.IdleTimeout
            }

            ServerTransport.Loops(loops, Some(PlainServer(duplicating, shares, limits, loops)))

    /// What each client holds of the memory.
    member _.Shares = shares

    /// How often something kept a loop from all else for longer than it may: never, where the runtime's sockets are used.
    member _.Stalls: LoopStalls = Transport.stalls transport

    member _.Snapshots = holder
    member _.Accounts = accounts
    member _.Clones = clones
    member _.Http = http
    member _.Budget = budget
    member _.Meter = meter
    member _.Refusals = refusals
    member _.UnknownHosts = unknownHosts
    member _.Tap = tap

    /// Whether requests are answered by the routes, and will be for a while; where there is a journal, once it is open.
    member _.IsReady =
        holder.IsKnown
        && not (Volatile.Read &isStopping)
        && journal |> Option.forall _.IsOpened

    /// The journal, if there is one.
    member _.Journal = journal

    /// The journal with what looks after it, if there is one.
    member _.Durable = durable

    /// Whether copies of a RequestClone are sent now.
    member _.IsRouted(clone: ObjectKey) : bool = (clones.LaneOf clone).IsSome

    /// Puts a routing in force, and retires the lanes that it has no more. One caller at a time.
    member _.Publish(routing: Routing) : unit =
        Volatile.Write(&policy, routing.Policy)
        Volatile.Write(&services, routing.State.Services.Objects)
        let update = lanes.Update(routing.Routes, routing.ChangedHosts)

        holder.Publish {
            Table = Routing.table routing
            Counts = routing.Counts
            Hosts = update.Hosts
        }

        for lane in update.Gone do
            lane.Retire()
            lane.NudgeNow()

        // What becomes of copies in the journal is counted for their RequestClone even if that is gone, and its dead letters are.
        let isInJournal clone =
            durable |> Option.exists (fun durable -> durable.Has clone)

        clones.Remove(
            routing.ChangedClones
            |> Set.filter (fun clone -> not (routing.Clones.ContainsKey clone || isInJournal clone))
        )

        published routing

    /// Not ready from now on, and no request waits for the routes any longer: nobody knows whether those ever come.
    member _.BecomeUnready() : unit =
        Volatile.Write(&isStopping, true)
        refusing.Cancel()

    /// Durable copies that are not being sent leave the memory: the journal has them, and sends them after the next start.
    member _.ShelveDurable() : unit =
        if journal.IsSome then
            for entry in clones.Unordered do
                for lane in entry.Lanes do
                    if lane.Target.Delivery.IsDurable then
                        lane.Retire()
                        lane.NudgeNow()

    /// Whether no copy in memory would be lost with the process.
    member _.HasOnlyDurable: bool =
        clones.Unordered
        |> Seq.forall (fun entry ->
            entry.Lanes
            |> List.forall (fun lane -> lane.IsDurable || lane.Load = LaneLoad.empty))

    /// Every copy under way ends at once.
    member _.Abandon() : unit = abandoning.Cancel()

    /// Logs whose copies were cut off.
    member _.TellAbandoned() : unit =
        for target, copies in report.Abandoned do
            ProxyLog.abandoned logger (string target.Clone) target.Endpoint copies

    interface IDisposable with
        member _.Dispose() =
            refusing.Cancel()
            slots.Dispose()

            match durable with
            | Some durable -> (durable :> IDisposable).Dispose()
            | None -> ()

            connections.Dispose()
            Transport.stop transport
            (failures :> IDisposable).Dispose()
            meter.Dispose()
            (tracing :> IDisposable).Dispose()
