namespace K8sReq.Journal

open System
open K8sReq.Core
open K8sReq.Proxy

/// The dead letters of an open journal. All within the transaction that has begun.
type IKeptLetters =
    /// The oldest first.
    abstract List: filter: DeadLetterFilter -> DeadLetter list

    /// Those of a RequestClone that are to be sent to its sink, the oldest first: at most so many, and not many more bytes than
    /// `UnsentLetter.mostBytes`.
    abstract Unsent: clone: ObjectKey * most: int -> UnsentLetter list

    /// It has been sent to its sink, or is not to be any more.
    abstract SetSent: id: CopyId -> unit

    /// One of them, with its request.
    abstract Read: id: CopyId -> (DeadLetter * CapturedRequest) option

    /// How many there are, by RequestClone, whatever the filter's limit.
    abstract Count: filter: DeadLetterFilter -> (ObjectKey * int64) list

    /// Makes dead letters copies again, as many as `tryTake` lets through. The first is due now, each of the next ones an
    /// interval later.
    abstract Replay:
        filter: DeadLetterFilter * now: DateTimeOffset * interval: TimeSpan * tryTake: (RemovedLetter -> bool) ->
            RemovedLetter list

    /// Removes those that are meant.
    abstract Drop: filter: DeadLetterFilter -> RemovedLetter list

    /// Removes what has been kept long enough, at most so many of them.
    abstract Prune: now: DateTimeOffset * most: int -> RemovedLetter list
