namespace K8sReq.Core

/// What a target's lane may hold: so many sends at once, and so many bytes of copies that wait for one.
type LaneLimits = { Concurrency: int; QueueBytes: int64 }

/// What a lane holds.
[<Struct>]
type LaneLoad = {
    Sending: int
    Queued: int
    QueuedBytes: int64
}

/// What becomes of a copy that is offered to a lane.
[<RequireQualifiedAccess>]
type Admission =
    | Send
    | Queue
    | Overflow

/// The accounting of a lane. Whoever applies it keeps the queue itself, first in, first out.
module LaneLoad =
    let empty = {
        Sending = 0
        Queued = 0
        QueuedBytes = 0L
    }

    /// A copy of this size (bytes) is offered. It is sent at once only where none waits before it.
    let offer (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : struct (LaneLoad * Admission) =
        if load.Sending < limits.Concurrency && load.Queued = 0 then
            struct ({ load with Sending = load.Sending + 1 }, Admission.Send)
        elif bytes <= limits.QueueBytes - load.QueuedBytes then
            struct ({
                        load with
                            Queued = load.Queued + 1
                            QueuedBytes = load.QueuedBytes + bytes
                    },
                    Admission.Queue)
        else
            struct (load, Admission.Overflow)

    /// A send has ended and nothing waits.
    let finish (load: LaneLoad) : LaneLoad = { load with Sending = load.Sending - 1 }

    /// A send has ended and the first that waits, of this size, takes its place.
    let takeNext (bytes: int64) (load: LaneLoad) : LaneLoad = {
        load with
            Queued = load.Queued - 1
            QueuedBytes = load.QueuedBytes - bytes
    }

    /// All that waits is given up.
    let clearQueue (load: LaneLoad) : LaneLoad = {
        load with
            Queued = 0
            QueuedBytes = 0L
    }

    /// Whether a lane that has overflowed has room again worth speaking of: one that hovers at its limit has not.
    let hasRecovered (limits: LaneLimits) (load: LaneLoad) : bool =
        load.QueuedBytes <= limits.QueueBytes / 2L
