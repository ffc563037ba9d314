/// What the data plane logs. Never a body, a header, a query string or a path.
module K8sReq.Proxy.ProxyLog

open System
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy.LogMessage

let private routesChangedWith =
    message3<Quantity, Quantity, Quantity>
        LogLevel.Information
        (EventId(2, "RoutesChanged"))
        "Routes: {Hosts} with {Targets}; {Unrouted} not routed"

/// How many hosts and targets are routed, and how many RequestClones are not.
let routesChanged (logger: ILogger) (hosts: int) (targets: int) (unrouted: int) : unit =
    routesChangedWith
        logger
        (Quantity.create "host" hosts)
        (Quantity.create "target" targets)
        (Quantity.create "RequestClone" unrouted)

/// The RequestClone, and why.
let notRouted: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(3, "NotRouted"))
        "RequestClone {Clone} is not routed: {Reason}"

let private copyFailedWith =
    LoggerMessage.Define<string, string, string, Quantity, float>(
        LogLevel.Warning,
        EventId(6, "CopyFailed"),
        "A copy for {Clone} was not delivered to {Address}: {Outcome} ({Attempts}, {DurationMs} ms)"
    )

let private tracedCopyFailedWith =
    LoggerMessage.Define<string, string, string, Quantity, float, string>(
        LogLevel.Warning,
        EventId(6, "CopyFailed"),
        "A copy for {Clone} was not delivered to {Address}: {Outcome} ({Attempts}, {DurationMs} ms, trace {TraceId})"
    )

/// A copy that was not delivered: RequestClone, address, what came of it, after how many attempts and how long. The
/// trace id is empty where nothing is traced.
let copyFailed
    (logger: ILogger)
    (clone: string)
    (address: string)
    (outcome: string)
    (attempts: int)
    (duration: TimeSpan)
    (traceId: string)
    =
    let milliseconds = Math.Round(duration.TotalMilliseconds, 1)
    let attempts = Quantity.create "attempt" attempts

    if traceId = "" then
        copyFailedWith.Invoke(logger, plain clone, plain address, plain outcome, attempts, milliseconds, null)
    else
        tracedCopyFailedWith.Invoke(
            logger,
            plain clone,
            plain address,
            plain outcome,
            attempts,
            milliseconds,
            traceId,
            null
        )

let private failuresOmittedWith =
    message2<Quantity, string>
        LogLevel.Warning
        (EventId(23, "FailuresOmitted"))
        "{Count} for {Clone} not logged (limit: 5 per 10 s)"

/// RequestClone, and how many of its failed copies were not logged.
let failuresOmitted (logger: ILogger) (clone: string) (count: int64) : unit =
    failuresOmittedWith logger (Quantity.create "more failed copy" count) clone

/// RequestClone and address of a target whose lane has begun to drop copies.
let laneOverflowed: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(10, "QueueFull"))
        "Queue for {Clone} ({Address}) is full: dropping copies. Logged once until it recovers"

let private laneRecoveredWith =
    message3<string, string, Quantity>
        LogLevel.Information
        (EventId(11, "QueueRecovered"))
        "Queue for {Clone} ({Address}) has room again: {Dropped} dropped"

/// RequestClone, address, and how many copies were dropped meanwhile.
let laneRecovered (logger: ILogger) (clone: string) (address: string) (dropped: int64) : unit =
    laneRecoveredWith logger clone address (Quantity.create "copy" dropped)

let private abandonedWith =
    message3<Quantity, string, string>
        LogLevel.Warning
        (EventId(12, "CopiesAbandoned"))
        "Shutdown timeout: {Copies} for {Clone} ({Address}) not delivered"

/// RequestClone, address, and how many of its copies the shutdown timeout has cut off.
let abandoned (logger: ILogger) (clone: string) (address: string) (copies: int) : unit =
    abandonedWith logger (Quantity.create "copy" copies) clone address

/// A host that a request came for and that has no target.
let unknownHost: ILogger -> string -> unit =
    message1<string>
        LogLevel.Warning
        (EventId(46, "UnknownHost"))
        "No RequestClone is routed for host \"{Host}\": its requests get 503. Logged once for a host"

let private unknownHostsOmittedWith =
    message1<Quantity>
        LogLevel.Warning
        (EventId(47, "UnknownHostsOmitted"))
        "{Count} without a routed RequestClone not logged (limit: 5 per minute)"

let unknownHostsOmitted (logger: ILogger) (count: int64) : unit =
    unknownHostsOmittedWith logger (Quantity.create "more host" count)

/// Status, host and reason.
let refused: ILogger -> int -> string -> string -> unit =
    message3<int, string, string>
        LogLevel.Debug
        (EventId(30, "Refused"))
        "Answered {Status} to a request for \"{Host}\": {Reason}"

let private refusalsOmittedWith =
    message2<Quantity, int>
        LogLevel.Debug
        (EventId(31, "RefusalsOmitted"))
        "{Count} answered {Status} not logged (limit: 20 per 10 s)"

/// Count and status.
let refusalsOmitted (logger: ILogger) (count: int64) (status: int) : unit =
    refusalsOmittedWith logger (Quantity.create "more request" count) status

let private orphansDroppedWith =
    message2<string, Quantity>
        LogLevel.Warning
        (EventId(36, "UnroutedCopiesDropped"))
        "RequestClone {Clone} has not been routed for ORPHAN_KEEP: {Copies} dropped from the journal"

/// RequestClone, and how many copies.
let orphansDropped (logger: ILogger) (clone: string) (copies: int64) : unit =
    orphansDroppedWith logger clone (Quantity.create "copy" copies)
