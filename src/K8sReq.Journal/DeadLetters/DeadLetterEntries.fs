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
}

/// A dead letter on its way to a sink.
type UnsentLetter = {
    Letter: DeadLetter
    Code: string
    Request: CapturedRequest
}

/// A row that is no longer there.
type RemovedLetter = {
    Id: CopyId
    Clone: ObjectKey
    Bytes: int64
}
