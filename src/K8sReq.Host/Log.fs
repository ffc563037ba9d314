/// What the program logs of itself. Never a body, a header, a query string or a path.
module K8sReq.Host.Log

open System
open Microsoft.Extensions.Logging
open K8sReq.Proxy
open K8sReq.Proxy.LogMessage

/// What a port is for, and the port.
let listening: ILogger -> string -> int -> unit =
    message2<string, int> LogLevel.Information (EventId(1, "Listening")) "{Endpoint} listening on port {Port}"

/// What is wrong in the folder of manifests.
let manifestProblem: ILogger -> string -> unit =
    message1<string> LogLevel.Warning (EventId(4, "ManifestProblem")) "{Problem}"

/// What was wrong in the folder of manifests and is now right.
let manifestProblemGone: ILogger -> string -> unit =
    message1<string> LogLevel.Information (EventId(5, "ManifestProblemGone")) "Fixed: {Problem}"

/// The version, and every setting in force.
let starting: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Information
        (EventId(24, "Starting"))
        "k8sreq {Version} starts with {Settings}"

/// What was asked for of telemetry and cannot be done.
let telemetryProblem: ILogger -> string -> unit =
    message1<string> LogLevel.Warning (EventId(25, "TelemetryProblem")) "OpenTelemetry: {Problem}"

let stopping: ILogger -> string -> unit =
    message1<string> LogLevel.Information (EventId(7, "Stopping")) "{Signal}: stopping"

let private stoppedWith =
    LoggerMessage.Define<Quantity, int64, int64, int64, Quantity>(
        LogLevel.Information,
        EventId(8, "Stopped"),
        "Stopped. {Accepted} accepted: {Delivered} delivered, {Failed} failed, {Dropped} dropped; {Retries}"
    )

let stopped
    (logger: ILogger)
    (accepted: int64)
    (delivered: int64)
    (failed: int64)
    (dropped: int64)
    (retries: int64)
    =
    stoppedWith.Invoke(
        logger,
        Quantity.create "copy" accepted,
        delivered,
        failed,
        dropped,
        Quantity.create "retry" retries,
        null
    )

/// What should not have happened, with where it did.
let unexpected: ILogger -> exn -> unit =
    let define =
        LoggerMessage.Define(
            LogLevel.Error,
            EventId(28, "Unexpected"),
            "Unexpected error. Please report it with this line"
        )

    fun (logger: ILogger) (error: exn) -> define.Invoke(logger, error)

let neverRetried: ILogger -> int64 -> unit =
    message1<int64>
        LogLevel.Warning
        (EventId(29, "NeverRetried"))
        "BODY_SIZE_LIMIT allows requests larger than QUEUE_BYTES ({QueueBytes}): their copies cannot wait for a retry, and are dropped if the first attempt fails"

/// Why not.
let acceptFailed: ILogger -> string -> unit =
    message1<string>
        LogLevel.Error
        (EventId(32, "AcceptFailed"))
        "Cannot accept connections: {Reason}. Retrying. Logged at most once per minute"

let private journalOpenedWith =
    message2<string, Quantity>
        LogLevel.Information
        (EventId(33, "JournalOpened"))
        "Journal {Place} opened: {Copies} recovered"

/// Folder, and how many copies were found in it.
let journalOpened (logger: ILogger) (place: string) (copies: int64) : unit =
    journalOpenedWith logger place (Quantity.create "copy" copies)

/// RequestClone, and the copy's id.
let copyParked: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Error
        (EventId(37, "CopyParked"))
        "The process ended twice while it sent a copy for {Clone}. It is not sent again; it is dead letter {DeadLetter}"

let private copiesAdoptedWith =
    message1<Quantity>
        LogLevel.Information
        (EventId(45, "CopiesAdopted"))
        "Took over {Copies} from a replica that is gone"

let copiesAdopted (logger: ILogger) (copies: int64) : unit =
    copiesAdoptedWith logger (Quantity.create "copy" copies)

let private journalClosedWith =
    LoggerMessage.Define<Quantity, int64, int64, int64>(
        LogLevel.Information,
        EventId(39, "JournalClosed"),
        "Journal: {Recovered} recovered, {Replayed} replayed, {Expired} expired; {Pending} left for the next start"
    )

let journalClosed
    (logger: ILogger)
    (recovered: int64)
    (replayed: int64)
    (expired: int64)
    (pending: int64)
    : unit =
    journalClosedWith.Invoke(logger, Quantity.create "copy" recovered, replayed, expired, pending, null)

let journalDamaged: ILogger -> string -> unit =
    message1<string> LogLevel.Error (EventId(38, "JournalDamaged")) "{Damage}"

/// Why it cannot be written.
let journalFailed: ILogger -> string -> unit =
    message1<string>
        LogLevel.Error
        (EventId(34, "JournalFailed"))
        "Journal unavailable: {Reason}. Requests with durable copies get 503 until it works again. Retrying; logged once"

/// Folder.
let journalRecovered: ILogger -> string -> unit =
    message1<string> LogLevel.Information (EventId(35, "JournalRecovered")) "Journal {Place} works again"

let private failedWith =
    LoggerMessage.Define<string, string>(
        LogLevel.Critical,
        EventId(9, "Fatal"),
        "{What} failed, the process ends: {Error}"
    )

/// Why the program cannot start.
let notStarted: ILogger -> string -> unit =
    message1<string> LogLevel.Error (EventId(49, "NotStarted")) "{Problem}"

/// A part of the program ended that never should.
let fatal (logger: ILogger) (what: string) (error: exn) =
    failedWith.Invoke(logger, plain what, plain (string error), null)
