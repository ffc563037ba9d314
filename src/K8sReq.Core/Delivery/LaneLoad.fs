namespace K8sReq.Core

/// What a target's lane may hold: so many sends at once, and so many bytes of copies that wait for one. What is being sent
/// at once has no more bytes than that either, unless a single copy has: a target that takes its time with large copies
/// would hold all of the memory that others need.
type LaneLimits = { Concurrency: int; QueueBytes: int64 }

/// What a lane holds.
[<Struct>]
type LaneLoad = {
    Sending: int
    SendingBytes: int64
    Queued: int
    QueuedBytes: int64
    /// Between two attempts: these hold no place, but their bytes count.
    Parked: int
    ParkedBytes: int64
} with

    /// What counts against the limit.
    member load.WaitingBytes = load.QueuedBytes + load.ParkedBytes

/// What becomes of a copy that is offered to a lane.
[<RequireQualifiedAccess; Struct>]
type LaneAdmission =
    | Send
    | Queue
    | Overflow

/// The accounting of a lane. The queue itself (first in, first out) is kept by `Lane`.
module LaneLoad =
    let empty = {
        Sending = 0
        SendingBytes = 0L
        Queued = 0
        QueuedBytes = 0L
        Parked = 0
        ParkedBytes = 0L
    }

    /// What two lanes hold together.
    let add (one: LaneLoad) (other: LaneLoad) : LaneLoad = {
        Sending = one.Sending + other.Sending
        SendingBytes = one.SendingBytes + other.SendingBytes
        Queued = one.Queued + other.Queued
        QueuedBytes = one.QueuedBytes + other.QueuedBytes
        Parked = one.Parked + other.Parked
        ParkedBytes = one.ParkedBytes + other.ParkedBytes
    }

    let private enqueue bytes (load: LaneLoad) = {
        load with
            Queued = load.Queued + 1
            QueuedBytes = load.QueuedBytes + bytes
    }

    // Whether one more copy of this size may be sent.
    let private hasPlace (limits: LaneLimits) (bytes: int64) (load: LaneLoad) =
        load.Sending = 0
        || (load.Sending < limits.Concurrency
            && bytes <= limits.QueueBytes - load.SendingBytes)

    let private send bytes (load: LaneLoad) = {
        load with
            Sending = load.Sending + 1
            SendingBytes = load.SendingBytes + bytes
    }

    /// A copy of this size (bytes) is offered. It is sent at once only where none waits before it.
    let offer (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : struct (LaneLoad * LaneAdmission) =
        if load.Queued = 0 && hasPlace limits bytes load then
            struct (send bytes load, LaneAdmission.Send)
        elif bytes <= limits.QueueBytes - load.WaitingBytes then
            struct (enqueue bytes load, LaneAdmission.Queue)
        else
            struct (load, LaneAdmission.Overflow)

    /// The send of a copy of this size has ended.
    let finish (bytes: int64) (load: LaneLoad) : LaneLoad = {
        load with
            Sending = load.Sending - 1
            SendingBytes = load.SendingBytes - bytes
    }

    /// The first that waits, of this size, is sent; None if it has to wait still. To be asked again until then: what has
    /// ended may have been as large as several that wait.
    let trySendNext (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : LaneLoad voption =
        if hasPlace limits bytes load then
            ValueSome(
                send bytes {
                    load with
                        Queued = load.Queued - 1
                        QueuedBytes = load.QueuedBytes - bytes
                }
            )
        else
            ValueNone

    /// A copy that was sent without success is to wait for its next attempt; None if there is no room for it. Its
    /// place is given up by `finish`, as after every send.
    let tryPark (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : LaneLoad voption =
        if bytes <= limits.QueueBytes - load.WaitingBytes then
            ValueSome {
                load with
                    Parked = load.Parked + 1
                    ParkedBytes = load.ParkedBytes + bytes
            }
        else
            ValueNone

    /// A copy has rested. It is sent if a place is free, else it queues; its bytes are counted already, so there is room.
    let unpark (limits: LaneLimits) (bytes: int64) (load: LaneLoad) : struct (LaneLoad * LaneAdmission) =
        let awake = {
            load with
                Parked = load.Parked - 1
                ParkedBytes = load.ParkedBytes - bytes
        }

        if awake.Queued = 0 && hasPlace limits bytes awake then
            struct (send bytes awake, LaneAdmission.Send)
        else
            struct (enqueue bytes awake, LaneAdmission.Queue)

    /// All that queues is given up.
    let clearQueue (load: LaneLoad) : LaneLoad = {
        load with
            Queued = 0
            QueuedBytes = 0L
    }

    /// Whether a lane that has overflowed has room again worth speaking of: one that hovers at its limit has not.
    let hasRecovered (limits: LaneLimits) (load: LaneLoad) : bool =
        load.WaitingBytes <= limits.QueueBytes / 2L
