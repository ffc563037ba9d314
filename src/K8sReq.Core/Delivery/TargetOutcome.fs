namespace K8sReq.Core

/// What took too long.
[<RequireQualifiedAccess>]
type TimeoutPhase =
    /// Connecting and sending the request.
    | Sending
    /// Waiting for the answer's head.
    | Answering

/// The end of a copy. Every accepted copy has exactly one.
[<RequireQualifiedAccess>]
type TargetOutcome =
    /// The target answered 2xx.
    | Delivered of status: int
    /// The target answered anything else. A redirect is not followed, so it is not a delivery.
    | Rejected of status: int
    | ConnectFailed of reason: string
    | TimedOut of TimeoutPhase
    /// The connection broke after it was made, before an answer came.
    | SendFailed of reason: string
    /// What came back is no HTTP answer.
    | BadAnswer of reason: string
    /// The target's lane had no room for it.
    | Overflowed
    /// It was to be sent again, and its target's queue had no room for it to wait. With the outcome of its last attempt.
    | NoRoomToRetry of last: TargetOutcome
    /// It was given up: its target is no longer routed, or the process ended before it did.
    | Cancelled
    /// It was not delivered before its time was over. With the outcome of its last attempt, where that is known.
    | Expired of last: TargetOutcome option
    /// The process ended while it was sent, more than once: it is not sent any more.
    | Poisonous
    /// Another replica has taken the copy over, and sends it.
    | TakenOver
    /// A defect of this program.
    | Faulted of reason: string

module TargetOutcome =
    let ofStatus (status: int) =
        if status >= 200 && status < 300 then
            TargetOutcome.Delivered status
        else
            TargetOutcome.Rejected status

    let isDelivered (outcome: TargetOutcome) =
        match outcome with
        | TargetOutcome.Delivered _ -> true
        | TargetOutcome.Rejected _
        | TargetOutcome.ConnectFailed _
        | TargetOutcome.TimedOut _
        | TargetOutcome.SendFailed _
        | TargetOutcome.BadAnswer _
        | TargetOutcome.Overflowed
        | TargetOutcome.NoRoomToRetry _
        | TargetOutcome.Cancelled
        | TargetOutcome.Expired _
        | TargetOutcome.Poisonous
        | TargetOutcome.TakenOver
        | TargetOutcome.Faulted _ -> false

    /// Whether its time was over.
    let isExpired (outcome: TargetOutcome) =
        match outcome with
        | TargetOutcome.Expired _ -> true
        | _ -> false

    /// Whether another replica has it now.
    let isTakenOver (outcome: TargetOutcome) =
        match outcome with
        | TargetOutcome.TakenOver -> true
        | _ -> false

    /// Whether the copy was given up without the target having failed it.
    let isDropped (outcome: TargetOutcome) =
        match outcome with
        | TargetOutcome.Overflowed
        | TargetOutcome.NoRoomToRetry _
        | TargetOutcome.Cancelled -> true
        | TargetOutcome.Delivered _
        | TargetOutcome.Rejected _
        | TargetOutcome.ConnectFailed _
        | TargetOutcome.TimedOut _
        | TargetOutcome.SendFailed _
        | TargetOutcome.BadAnswer _
        | TargetOutcome.Expired _
        | TargetOutcome.Poisonous
        | TargetOutcome.TakenOver
        | TargetOutcome.Faulted _ -> false

    /// What the target answered, if it did.
    let status (outcome: TargetOutcome) : int voption =
        match outcome with
        | TargetOutcome.Delivered status
        | TargetOutcome.Rejected status -> ValueSome status
        | TargetOutcome.ConnectFailed _
        | TargetOutcome.TimedOut _
        | TargetOutcome.SendFailed _
        | TargetOutcome.BadAnswer _
        | TargetOutcome.Overflowed
        | TargetOutcome.NoRoomToRetry _
        | TargetOutcome.Cancelled
        | TargetOutcome.Expired _
        | TargetOutcome.Poisonous
        | TargetOutcome.TakenOver
        | TargetOutcome.Faulted _ -> ValueNone

    /// The kind of failure, one of a few words; empty if there is none.
    let errorType (outcome: TargetOutcome) : string =
        match outcome with
        | TargetOutcome.Delivered _ -> ""
        | TargetOutcome.Rejected _ -> "status"
        | TargetOutcome.ConnectFailed _ -> "connect"
        | TargetOutcome.TimedOut TimeoutPhase.Sending -> "timeout_sending"
        | TargetOutcome.TimedOut TimeoutPhase.Answering -> "timeout_answering"
        | TargetOutcome.SendFailed _ -> "connection_lost"
        | TargetOutcome.BadAnswer _ -> "bad_answer"
        | TargetOutcome.Overflowed
        | TargetOutcome.NoRoomToRetry _ -> "overflow"
        | TargetOutcome.Cancelled -> "cancelled"
        | TargetOutcome.Expired _ -> "expired"
        | TargetOutcome.Poisonous -> "poison"
        | TargetOutcome.TakenOver -> "taken_over"
        | TargetOutcome.Faulted _ -> "fault"

    /// How a copy that ended so is counted: the `outcome` label of `k8sreq_copies_total`, and part of the interface.
    let countedAs (outcome: TargetOutcome) : string =
        if isDelivered outcome then "delivered"
        elif isDropped outcome then "dropped"
        elif isExpired outcome then "expired"
        elif isTakenOver outcome then "taken_over"
        else "failed"

    /// A few words for a log line.
    let rec describe (outcome: TargetOutcome) : string =
        match outcome with
        | TargetOutcome.Delivered status -> $"delivered, answered {status}"
        | TargetOutcome.Rejected status -> $"answered {status}"
        | TargetOutcome.ConnectFailed reason -> $"could not connect: {reason}"
        | TargetOutcome.TimedOut TimeoutPhase.Sending -> "timed out while connecting or sending"
        | TargetOutcome.TimedOut TimeoutPhase.Answering -> "timed out waiting for the response"
        | TargetOutcome.SendFailed reason -> $"the connection broke: {reason}"
        | TargetOutcome.BadAnswer reason -> $"the response was not HTTP: {reason}"
        | TargetOutcome.Overflowed -> "no room: too many copies are waiting for this target"
        | TargetOutcome.NoRoomToRetry last ->
            $"no room to wait for a retry (QUEUE_BYTES); the last attempt: {describe last}"
        | TargetOutcome.Cancelled -> "given up: its route was removed, or the process is shutting down"
        | TargetOutcome.Expired None -> "expired (expireAfter) before it was delivered"
        | TargetOutcome.Expired(Some last) -> $"expired (expireAfter); the last attempt: {describe last}"
        | TargetOutcome.Poisonous -> "the process ended twice while this copy was sent"
        | TargetOutcome.TakenOver -> "taken over by another replica"
        | TargetOutcome.Faulted reason -> $"a defect of this program: {reason}"
