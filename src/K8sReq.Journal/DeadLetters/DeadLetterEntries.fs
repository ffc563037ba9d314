namespace K8sReq.Journal

open System
open K8sReq.Core

/// A copy that becomes a dead letter.
type DeadEntry = {
    Id: CopyId
    Clone: ObjectKey
    Bytes: int64
    Cause: DeadCause
    Outcome: string
    Attempts: int
    Target: string
    EndedAt: DateTimeOffset
    Keep: TimeSpan
    /// The status of its last answer, or the kind of its failure.
    Code: string
    /// It is to be sent to a sink.
    IsForSink: bool
    /// See `SendLease`.
    Epoch: int64
}

module DeadEntry =
    /// A copy that was in memory at so many ends of a process without a word is not sent any more: see decision 0009.
    let mostEnds = 3L

    /// Of a copy that is not to be sent again, for the process has ended while it was; with the head of its request.
    let poisonous
        (now: DateTimeOffset)
        (keep: TimeSpan)
        (id: CopyId)
        (clone: ObjectKey)
        (bytes: int64)
        (attempts: int64)
        (request: CapturedRequest)
        : DeadEntry = {
        Id = id
        Clone = clone
        Bytes = bytes
        Cause = DeadCause.Poison
        Outcome = TargetOutcome.describe TargetOutcome.Poisonous
        // The ones that ended the process with them.
        Attempts = int attempts + 2
        Target = CapturedRequest.target request
        EndedAt = now
        Keep = keep
        Code = TargetOutcome.errorType TargetOutcome.Poisonous
        // What its RequestClone wants is not known yet.
        IsForSink = false
        Epoch = 0L
    }

/// A dead letter on its way to a sink.
type UnsentLetter = {
    Letter: DeadLetter
    Code: string
    Request: CapturedRequest
}

module UnsentLetter =
    /// All that are read at once are in memory until they have been sent.
    let mostBytes = 4L * 1024L * 1024L

/// A row that is no longer there.
type RemovedLetter = {
    Id: CopyId
    Clone: ObjectKey
    Bytes: int64
}
