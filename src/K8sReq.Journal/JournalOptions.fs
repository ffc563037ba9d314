namespace K8sReq.Journal

open System
open K8sReq.Core

/// What the journal has done, for metrics.
type JournalTotals = {
    Commits: int64
    /// That could not be done.
    FailedCommits: int64
    /// In transactions, sync included.
    CommitTime: TimeSpan
}

/// What the journal tells. Called on its thread; must not throw.
[<NoEquality; NoComparison>]
type JournalEvents = {
    /// Told once.
    Opened: JournalContent -> unit
    /// Copies of a process that has gone are this one's now.
    Adopted: JournalUpkeep -> unit
    /// So many processes use the journal. Told now and then, of a journal that several can use.
    Replicas: int -> unit
    /// So many copies of this RequestClone wait, more than was known (they are found now), or fewer (they were given up): after a
    /// transaction of which nobody knew whether it was kept.
    Recounted: ObjectKey -> int64 -> unit
    /// So many copies of this RequestClone that waited in the journal alone are another's now.
    TakenOver: ObjectKey -> int64 -> unit
    /// A copy of this RequestClone waits in the file from now on.
    Arrived: ObjectKey -> unit
    /// The first of a run of failures.
    Failed: JournalFault -> unit
    /// The end of one.
    Recovered: unit -> unit
}

module JournalEvents =
    /// Told to nobody.
    let none: JournalEvents = {
        Opened = ignore
        Adopted = ignore
        Replicas = ignore
        Recounted = fun _ _ -> ()
        TakenOver = fun _ _ -> ()
        Arrived = ignore
        Failed = ignore
        Recovered = ignore
    }

/// How a journal is kept.
type JournalOptions = {
    /// Bytes of copies that it may hold.
    Limit: int64
    /// How long a commit waits for others to share it.
    Linger: TimeSpan
    /// How long dead letters are kept of which nobody says so.
    DeadLetterKeep: TimeSpan
}
