/// The proxy, put together: sources, routing, servers, and the order in which they start and stop.
module K8sReq.Host.Commands.Serve

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Host.Admin
open K8sReq.Host.Http
open K8sReq.Host.Proxy
open K8sReq.Host.Routing
open K8sReq.Host.Sources

// The end is not to wait for an API server that does not answer.
let private longestFarewell = TimeSpan.FromSeconds 4.0

/// A proxy that serves.
[<NoEquality; NoComparison>]
type Running = {
    ProxyPort: int
    ProbePort: int
    Totals: unit -> CopyTotals
    /// Stops listening, waits for the copies that are under way, for a limited time, and gives the totals.
    Stop: unit -> Task<CopyTotals>
    /// Completed only if a part ended that never should.
    Failed: Task<exn>
}

// A full lane tells of its drops itself.
let private reportCopy
    (logger: ILogger)
    (abandoned: ConcurrentDictionary<Target, int>)
    (isAbandoning: unit -> bool)
    : CopyReport =
    fun target outcome ->
        match outcome with
        | TargetOutcome.Delivered _
        | TargetOutcome.Overflowed -> ()
        | TargetOutcome.Cancelled when isAbandoning () ->
            abandoned.AddOrUpdate(target, 1, (fun _ count -> count + 1)) |> ignore
        | _ ->
            if logger.IsEnabled LogLevel.Warning then
                Log.copyFailed logger (string target.Clone) target.Endpoint (TargetOutcome.describe outcome)

let private laneEvents (logger: ILogger) : LaneEvents = {
    Overflowed = fun target -> Log.laneOverflowed logger (string target.Clone) target.Endpoint
    Recovered = fun target count -> Log.laneRecovered logger (string target.Clone) target.Endpoint count
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

/// Starts the proxy: the probes first, then the routes, then the port that requests come in by.
let start
    (loggers: ILoggerFactory)
    (clock: TimeProvider)
    (source: RouteSource)
    (settings: Settings)
    : Task<Result<Running, BindError>> = task {
    let logger = loggers.CreateLogger "k8sreq"
    // Set at once when it is to stop; routes are followed for as long as requests come in.
    let mutable isStopping = false
    let unfollowing = new CancellationTokenSource()
    let abandoning = new CancellationTokenSource()
    let holder = RouteTableHolder()
    let ledger = CopyLedger()
    let events = laneEvents logger
    let lanes = LaneDirectory(fun target -> Lane(target, settings.Lane, events))
    let abandoned = ConcurrentDictionary<Target, int>()

    let publish (routing: Routing) =
        lanes.Update(routing.Routes, routing.ChangedHosts)
        holder.Publish(Routing.table routing)
        source.Published routing

    let controller = Controller(logger, source.Scopes, holder, publish)

    let client, connections =
        TargetClient.create
            clock
            {
                Write = settings.WriteTimeout
                Read = settings.ReadTimeout
            }
            abandoning.Token

    let proxy =
        DuplicateHandler.create {
            FindLanes = lanes.Find
            Delivery = {
                Client = client
                Clock = clock
                Jitter = Random.Shared.NextDouble
                Retrying = fun _ -> ledger.Retry()
                Stop = abandoning.Token
            }
            Report = reportCopy logger abandoned (fun () -> abandoning.IsCancellationRequested)
            Budget = BufferBudget settings.BufferBytes
            Ledger = ledger
            Clock = clock
            ReadTimeout = settings.ReadTimeout
            BodySizeLimit = settings.BodySizeLimit
            ViaName = settings.ViaName
        }

    let isReady () =
        holder.IsKnown && not (Volatile.Read &isStopping)

    match!
        HttpServer.start loggers false settings.ReadTimeout settings.ProbeAddr (Probes.handler isReady)
    with
    | Error error -> return Error error
    | Ok probeServer ->
        Log.listening logger "Probes" $"port {probeServer.Port}"
        let controlling = controller.RunAsync unfollowing.Token

        let following = source.Run controller.Post unfollowing.Token

        // Whoever can connect is answered by routes that are known.
        let! _ = Task.WhenAny(holder.WhenKnown, controlling)

        match! HttpServer.start loggers true settings.ReadTimeout settings.HttpAddr proxy with
        | Error error ->
            unfollowing.Cancel()
            do! probeServer.StopAsync CancellationToken.None
            return Error error
        | Ok proxyServer ->
            Log.listening logger "Proxy" $"port {proxyServer.Port}"

            let stop () = task {
                Volatile.Write(&isStopping, true)

                // Whoever sends requests here needs time to see that it should not any more.
                if settings.ShutdownDelay > TimeSpan.Zero then
                    do! Task.Delay(settings.ShutdownDelay, clock)

                use giveUp = new CancellationTokenSource(settings.GracefulShutdownTimeout, clock)
                do! proxyServer.StopAsync giveUp.Token
                unfollowing.Cancel()

                try
                    do! ledger.WhenIdle().WaitAsync giveUp.Token
                with :? OperationCanceledException ->
                    abandoning.Cancel()
                    // Each of them ends at once now; what is counted is then complete.
                    do! ledger.WhenIdle()

                for KeyValue(target, copies) in abandoned do
                    Log.abandoned logger (string target.Clone) target.Endpoint copies

                // What has to be given back to the cluster: see Leadership. Neither waits for long by itself.
                let! _ =
                    Task.WhenAny(
                        Task.WhenAll following,
                        Task.Delay(longestFarewell, clock, CancellationToken.None)
                    )

                connections.Dispose()
                do! probeServer.StopAsync CancellationToken.None
                return ledger.Totals
            }

            return
                Ok {
                    ProxyPort = proxyServer.Port
                    ProbePort = probeServer.Port
                    Totals = fun () -> ledger.Totals
                    Stop = stop
                    Failed = firstFailure (controlling :: following)
                }
}
