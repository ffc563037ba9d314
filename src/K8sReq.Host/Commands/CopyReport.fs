namespace K8sReq.Host.Commands

open System
open System.Collections.Concurrent
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

/// What becomes of copies, for the operator: the metrics, what is remembered of their RequestClones, the log, and those who watch.
[<Sealed>]
type CopyReport
    (
        clock: TimeProvider,
        http: HttpMetrics,
        accounts: CopyAccounts,
        tap: Tap,
        failures: FailureLog,
        isAbandoning: unit -> bool
    ) =
    inherit CopyObserver()

    let abandoned = ConcurrentDictionary<Target, int>()

    let traceIdOf (request: AcceptedRequest) =
        match request.Trace with
        | null -> ""
        | trace -> trace.TraceId

    let tapEnd
        (request: AcceptedRequest)
        (lane: Lane)
        (struct (outcome, attempts): CopyEnd)
        (duration: TimeSpan)
        =
        TapEvent.Copy {
            At = clock.GetUtcNow()
            Id = request.RequestId
            Method = request.Request.Method
            Target = lane.Target
            Outcome = outcome
            Attempts = attempts
            Duration = duration
        }
        |> tap.Tell

    let delivered
        (request: AcceptedRequest)
        (lane: Lane)
        (struct (outcome, attempts): CopyEnd)
        (duration: TimeSpan)
        =
        http.Delivered duration

        if lane.Statistics.WantsDelivery then
            lane.Statistics.KeepDelivered {
                At = clock.GetUtcNow()
                Endpoint = lane.Target.Endpoint
                Status = TargetOutcome.status outcome |> ValueOption.defaultValue 0
                Attempts = attempts
                Duration = duration
                TraceId = traceIdOf request
            }

    let failed
        (request: AcceptedRequest)
        (lane: Lane)
        (struct (outcome, attempts): CopyEnd)
        (duration: TimeSpan)
        =
        let failure = {
            At = clock.GetUtcNow()
            Target = lane.Target
            Outcome = outcome
            Attempts = attempts
            Duration = duration
            TraceId = traceIdOf request
        }

        lane.Statistics.Keep failure

        match outcome with
        // A full lane tells of its drops itself.
        | TargetOutcome.Overflowed -> ()
        | TargetOutcome.Cancelled when isAbandoning () ->
            abandoned.AddOrUpdate(lane.Target, 1, (fun _ count -> count + 1)) |> ignore
        | _ -> failures.Tell failure

    /// How many copies were cut off, by target.
    member _.Abandoned: (Target * int) list = [ for KeyValue(target, copies) in abandoned -> target, copies ]

    /// What a queue logs of itself.
    static member LaneEvents(logger: ILogger) : LaneEvents = {
        Overflowed = fun target -> ProxyLog.laneOverflowed logger (string target.Clone) target.Endpoint
        Recovered =
            fun target count -> ProxyLog.laneRecovered logger (string target.Clone) target.Endpoint count
    }

    override _.Attempted request lane number outcome duration =
        accounts.AttemptEnded(lane.Statistics, number, outcome)
        http.Sent(request.Request.Method, outcome, duration)

    override _.Ended request lane (struct (outcome, _) as ending) duration =
        try
            if tap.IsOn then
                tapEnd request lane ending duration

            if TargetOutcome.isDelivered outcome then
                delivered request lane ending duration
            elif not (TargetOutcome.isTakenOver outcome) then
                failed request lane ending duration
        finally
            accounts.Ended(lane.Statistics, outcome, duration)
            lane.NudgeNow()

    override _.Shelved _ _ = accounts.Shelved()
