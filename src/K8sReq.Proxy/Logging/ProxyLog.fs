/// What the data plane logs. Never a body, a header, a query string or a path.
module K8sReq.Proxy.ProxyLog

open System
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy.LogMessage

let routesChanged: ILogger -> int -> int -> int -> unit =
    message3<int, int, int>
        LogLevel.Information
        (EventId(2, "RoutesChanged"))
        "Routes: {Hosts} hosts with {Targets} targets; {Unrouted} RequestClones not routed"

/// The RequestClone, and why.
let notRouted: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(3, "NotRouted"))
        "RequestClone {Clone} is not routed: {Reason}"

let private copyFailedWith =
    LoggerMessage.Define<string, string, string, int, float, string>(
        LogLevel.Warning,
        EventId(6, "CopyFailed"),
        "A copy for {Clone} was not delivered to {Address}: {Outcome}; {Attempts} attempts, {DurationMs} ms, trace {TraceId}"
    )

/// A copy that was not delivered: RequestClone, address, what came of it, after how many attempts and how long. The
/// trace id is "-" where nothing is traced.
let copyFailed
    (logger: ILogger)
    (clone: string)
    (address: string)
    (outcome: string)
    (attempts: int)
    (duration: TimeSpan)
    (traceId: string)
    =
    copyFailedWith.Invoke(
        logger,
        plain clone,
        plain address,
        plain outcome,
        attempts,
        Math.Round(duration.TotalMilliseconds, 1),
        traceId,
        null
    )

/// RequestClone, and how many of its copies that were not delivered were not logged.
let failuresOmitted: ILogger -> string -> int64 -> unit =
    message2<string, int64>
        LogLevel.Warning
        (EventId(23, "FailuresOmitted"))
        "Copies for {Clone} were not delivered, {Count} more than the log has lines for"

/// RequestClone and address of a target whose lane has begun to drop copies.
let laneOverflowed: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(10, "LaneOverflowed"))
        "Copies for {Clone} at {Address} are dropped: too many wait for it. This is said once until it takes them again"

let laneRecovered: ILogger -> string -> string -> int64 -> unit =
    message3<string, string, int64>
        LogLevel.Information
        (EventId(11, "LaneRecovered"))
        "{Clone} at {Address} takes copies again; {Dropped} were dropped"

/// RequestClone, address, and how many of its copies the end of the process has cut off.
let abandoned: ILogger -> string -> string -> int -> unit =
    message3<string, string, int>
        LogLevel.Warning
        (EventId(12, "Abandoned"))
        "Given up for {Clone} at {Address}: {Copies} copies"

/// Status, host and reason.
let refused: ILogger -> int -> string -> string -> unit =
    message3<int, string, string>
        LogLevel.Debug
        (EventId(30, "Refused"))
        "Answered {Status} to a request for \"{Host}\": {Reason}"

/// Count and status.
let refusalsOmitted: ILogger -> int64 -> int -> unit =
    message2<int64, int>
        LogLevel.Debug
        (EventId(31, "RefusalsOmitted"))
        "{Count} more requests that were answered {Status} were not logged (limit: 20 per 10 s)"
