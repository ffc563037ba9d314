namespace K8sReq.Core

/// What a target's lane may hold: so many sends at once, and so many bytes of copies that wait for one.
type LaneLimits = { Concurrency: int; QueueBytes: int64 }

/// What a lane holds.
[<Struct>]
type LaneLoad = {
    Sending: int
    Queued: int
    QueuedBytes: int64
    /// Between two attempts: these hold no place, but their bytes count.
    Resting: int
    RestingBytes: int64
} with

    /// What counts against the limit.
    member load.WaitingBytes = load.QueuedBytes + load.RestingBytes

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
        Resting = 0
        RestingBytes = 0L
    }

    /// What two lanes hold together.
    let add (one: LaneLoad) (other: LaneLoad) : LaneLoad = {
        Sending = one.Sending + other.Sending
        Queued = one.Queued + other.Queued
        QueuedBytes = one.QueuedBytes + other.QueuedBytes
        Resting = one.Resting + other.Resting
        RestingBytes = one.RestingBytes + other.RestingBytes
    }

    let private enqueue bytes (load: LaneLoad) = {
        load with
            Queued = load.Queued + 1
            QueuedBytes = load.QueuedBytes + bytes
    }

    let private hasFreePlace (limits: LaneLimits) (load: LaneLoad) =
        load.Sending < limits.Concurrency && load.Queued = 0

    /// A copy of this size (bytes) is offered. It is sent at once only where none waits before it.
    let offer (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : struct (LaneLoad * Admission) =
        if hasFreePlace limits load then
            struct ({ load with Sending = load.Sending + 1 }, Admission.Send)
        elif bytes <= limits.QueueBytes - load.WaitingBytes then
            struct (enqueue bytes load, Admission.Queue)
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

    /// A copy that was sent without success is to wait for its next attempt; None if there is no room for it. Its
    /// place is given up by `finish` or `takeNext`, as after every send.
    let tryRest (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : LaneLoad voption =
        if bytes <= limits.QueueBytes - load.WaitingBytes then
            ValueSome {
                load with
                    Resting = load.Resting + 1
                    RestingBytes = load.RestingBytes + bytes
            }
        else
            ValueNone

    /// A copy has rested. It is sent if a place is free, else it queues; its bytes are counted already, so there is room.
    let wake (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : struct (LaneLoad * Admission) =
        let awake = {
            load with
                Resting = load.Resting - 1
                RestingBytes = load.RestingBytes - bytes
        }

        if hasFreePlace limits awake then
            struct ({
                        awake with
                            Sending = awake.Sending + 1
                    },
                    Admission.Send)
        else
            struct (enqueue bytes awake, Admission.Queue)

    /// All that queues is given up.
    let clearQueue (load: LaneLoad) : LaneLoad = {
        load with
            Queued = 0
            QueuedBytes = 0L
    }

    /// Whether a lane that has overflowed has room again worth speaking of: one that hovers at its limit has not.
    let hasRecovered (limits: LaneLimits) (load: LaneLoad) : bool =
        load.WaitingBytes <= limits.QueueBytes / 2L
