/// Everything the program says while it runs, defined once. Never a body, a header, a query string or a path.
module K8sReq.Host.Log

open System
open Microsoft.Extensions.Logging
open K8sReq.Core

// What comes from outside, be it an exception's words, a manifest or the API server's answer, is part of a line and never
// a line of its own: controls, line separators among them, are spaces.
let private isControl (character: char) =
    Char.IsControl character || character = '\u2028' || character = '\u2029'

let private plain (value: 'T) : 'T =
    match box value with
    | :? string as text when text |> Seq.exists isControl ->
        unbox<'T>(
            text
            |> String.map (fun character -> if isControl character then ' ' else character)
        )
    | _ -> value

let private message1<'A> level id text : ILogger -> 'A -> unit =
    let define = LoggerMessage.Define<'A>(level, EventId id, text)
    fun (logger: ILogger) (a: 'A) -> define.Invoke(logger, plain a, null)

let private message2<'A, 'B> level id text : ILogger -> 'A -> 'B -> unit =
    let define = LoggerMessage.Define<'A, 'B>(level, EventId id, text)
    fun (logger: ILogger) (a: 'A) (b: 'B) -> define.Invoke(logger, plain a, plain b, null)

let private message3<'A, 'B, 'C> level id text : ILogger -> 'A -> 'B -> 'C -> unit =
    let define = LoggerMessage.Define<'A, 'B, 'C>(level, EventId id, text)

    fun (logger: ILogger) (a: 'A) (b: 'B) (c: 'C) -> define.Invoke(logger, plain a, plain b, plain c, null)

/// What a port is for, and the port.
let listening: ILogger -> string -> string -> unit =
    message2<string, string> LogLevel.Information 1 "{Endpoint} listening on {Address}"

let routesChanged: ILogger -> int -> int -> int -> unit =
    message3<int, int, int>
        LogLevel.Information
        2
        "Routes: {Hosts} hosts with {Targets} targets; {Unrouted} RequestClones not routed"

/// The RequestClone, and why.
let notRouted: ILogger -> string -> string -> unit =
    message2<string, string> LogLevel.Warning 3 "RequestClone {Clone} is not routed: {Reason}"

/// What is wrong in the folder of manifests.
let manifestProblem: ILogger -> string -> unit =
    message1<string> LogLevel.Warning 4 "{Problem}"

/// What was wrong in the folder of manifests and is no more.
let manifestProblemGone: ILogger -> string -> unit =
    message1<string> LogLevel.Information 5 "No longer: {Problem}"

let private copyFailedWith =
    LoggerMessage.Define<string, string, string, int, float, string>(
        LogLevel.Warning,
        EventId 6,
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
        23
        "Copies for {Clone} were not delivered, {Count} more than the log has lines for"

/// The version, and every setting in force.
let starting: ILogger -> string -> string -> unit =
    message2<string, string> LogLevel.Information 24 "k8sreq {Version} starts with {Settings}"

/// What was asked for of telemetry and cannot be done.
let telemetryProblem: ILogger -> string -> unit =
    message1<string> LogLevel.Warning 25 "OpenTelemetry: {Problem}"

/// RequestClone and address of a target whose lane has begun to drop copies.
let laneOverflowed: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        10
        "Copies for {Clone} at {Address} are dropped: too many wait for it. This is said once until it takes them again"

let laneRecovered: ILogger -> string -> string -> int64 -> unit =
    message3<string, string, int64>
        LogLevel.Information
        11
        "{Clone} at {Address} takes copies again; {Dropped} were dropped"

/// RequestClone, address, and how many of its copies the end of the process has cut off.
let abandoned: ILogger -> string -> string -> int -> unit =
    message3<string, string, int> LogLevel.Warning 12 "Given up for {Clone} at {Address}: {Copies} copies"

let stopping: ILogger -> string -> unit =
    message1<string> LogLevel.Information 7 "{Signal}: stopping"

let private stoppedWith =
    LoggerMessage.Define<int64, int64, int64, int64, int64>(
        LogLevel.Information,
        EventId 8,
        "Stopped. {Accepted} copies were accepted: {Delivered} delivered, {Failed} failed, {Dropped} dropped; {Retries} attempts were retries"
    )

let stopped
    (logger: ILogger)
    (accepted: int64)
    (delivered: int64)
    (failed: int64)
    (dropped: int64)
    (retries: int64)
    =
    stoppedWith.Invoke(logger, accepted, delivered, failed, dropped, retries, null)

let credentialsNotRenewed: ILogger -> string -> unit =
    message1<string> LogLevel.Warning 13 "The credentials could not be read anew: {Reason}"

let private watchFaultMessage =
    message3<string, string, string>
        LogLevel.Warning
        14
        "{Watched}: {What}. It is tried again and again. {Detail}"

/// The kind and scope that is listed and watched, and what stands in the way.
let watchFault (logger: ILogger) (name: string) (fault: WatchFault) : unit =
    let what, detail =
        match fault with
        | WatchFault.Unauthorized detail -> "the API server does not accept the credentials (401)", detail
        | WatchFault.Forbidden detail -> "a permission is missing (403)", detail
        | WatchFault.UnknownKind detail ->
            "the API server does not know this kind (404); is its CustomResourceDefinition installed?", detail
        | WatchFault.Untrusted detail -> "no trusted authority vouches for the API server", detail
        | WatchFault.Unreachable detail -> "the API server cannot be asked", detail

    watchFaultMessage logger name what detail

let watchRecovered: ILogger -> string -> unit =
    message1<string> LogLevel.Information 15 "{Watched}: followed again"

/// RequestClone and reason.
let statusNotWritten: ILogger -> string -> string -> unit =
    message2<string, string> LogLevel.Warning 16 "The status of {Clone} could not be written: {Reason}"

/// RequestClone and what the API server said.
let statusRefused: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        26
        "The API server refuses the status of {Clone}: {Reason}. What its status says may be out of date. Logged once; it is retried with backoff"

let refusalsNotLogged: ILogger -> int64 -> unit =
    message1<int64> LogLevel.Warning 27 "{Count} more refused statuses were not logged (limit: 10 per minute)"

/// What should not have happened, with where it did.
let unexpected: ILogger -> exn -> unit =
    let define =
        LoggerMessage.Define(
            LogLevel.Error,
            EventId 28,
            "Unexpected error. Please report it with the lines that follow"
        )

    fun (logger: ILogger) (error: exn) -> define.Invoke(logger, error)

let neverRetried: ILogger -> int64 -> unit =
    message1<int64>
        LogLevel.Warning
        29
        "BODY_SIZE_LIMIT allows requests that are larger than QUEUE_BYTES ({QueueBytes}): copies of such requests cannot wait for a retry, and are dropped when their first attempt fails"

/// Status, host and reason.
let refused: ILogger -> int -> string -> string -> unit =
    message3<int, string, string> LogLevel.Debug 30 "Answered {Status} to a request for \"{Host}\": {Reason}"

/// Count and status.
let refusalsOmitted: ILogger -> int64 -> int -> unit =
    message2<int64, int>
        LogLevel.Debug
        31
        "{Count} more requests that were answered {Status} were not logged (limit: 20 per 10 s)"

/// Why not.
let acceptFailed: ILogger -> string -> unit =
    message1<string>
        LogLevel.Error
        32
        "No connection can be accepted ({Reason}); it is tried again and again. This is said once a minute at most"

let eventNotWritten: ILogger -> string -> string -> unit =
    message2<string, string> LogLevel.Warning 17 "The event about {Clone} could not be written: {Reason}"

/// The name of the leader.
let leading: ILogger -> string -> unit =
    message1<string> LogLevel.Information 18 "{Identity} is the leader now: it writes statuses and events"

let notLeading: ILogger -> string -> unit =
    message1<string> LogLevel.Information 19 "{Identity} is not the leader any more"

let otherLeader: ILogger -> string -> unit =
    message1<string> LogLevel.Information 20 "The leader is {Leader}"

let leaderElectionFailed: ILogger -> string -> unit =
    message1<string>
        LogLevel.Warning
        21
        "Leader election does not work at the moment; requests are copied all the same: {Reason}"

/// Where the cluster was found.
let cluster: ILogger -> string -> string -> unit =
    message2<string, string> LogLevel.Information 22 "The routes come from the cluster of {Origin}, {Scopes}"

let private failedWith =
    LoggerMessage.Define<string, string>(
        LogLevel.Critical,
        EventId 9,
        "{What} failed; the process ends: {Error}"
    )

/// A part of the program ended that never should.
let fatal (logger: ILogger) (what: string) (error: exn) =
    failedWith.Invoke(logger, plain what, plain (string error), null)
