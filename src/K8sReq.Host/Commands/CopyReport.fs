/// What is told of copies that have ended, and of queues.
module K8sReq.Host.Commands.CopyReport

open System
open System.Collections.Concurrent
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

let private traceIdOf (request: AcceptedRequest) =
    match request.Trace with
    | null -> ""
    | trace -> trace.TraceId

/// What became of a copy, for the operator: the metrics, what is remembered of its RequestClone, and the log.
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

            if lane.Statistics.WantsDelivery then
                lane.Statistics.KeepDelivered {
                    At = clock.GetUtcNow()
                    Endpoint = lane.Target.Endpoint
                    Status = TargetOutcome.status outcome |> ValueOption.defaultValue 0
                    Attempts = attempts
                    Duration = duration
                    TraceId = traceIdOf request
                }
        elif not (TargetOutcome.isTakenOver outcome) then
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

/// What a queue logs of itself.
let laneEvents (logger: ILogger) : LaneEvents = {
    Overflowed = fun target -> ProxyLog.laneOverflowed logger (string target.Clone) target.Endpoint
    Recovered = fun target count -> ProxyLog.laneRecovered logger (string target.Clone) target.Endpoint count
}
