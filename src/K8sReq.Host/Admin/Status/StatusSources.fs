namespace K8sReq.Host.Admin.Status

open System
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.DeadLetters

/// What a journal keeps beside the copies that are under way: of a RequestClone, or of all.
[<Struct>]
type StoredCopies = {
    /// Copies that wait in the journal alone.
    Backlog: int64
    /// Since the oldest of those was accepted.
    OldestAge: TimeSpan
    DeadLetters: int64
}

/// What the page asks of a journal.
[<NoEquality; NoComparison>]
type StatusJournal = {
    Of: ObjectKey -> StoredCopies
    /// Of all RequestClones, also of those that are gone.
    All: unit -> StoredCopies
}

/// What the status page tells of, as it is at the moment it is asked. From any thread.
[<NoEquality; NoComparison>]
type StatusSources = {
    /// With the commit after a `+`, if it is known.
    Version: string
    /// What this replica is called among the others.
    Instance: string
    StartedAt: DateTimeOffset
    Clock: TimeProvider
    IsReady: unit -> bool
    Table: unit -> RouteTable
    Counts: unit -> RoutingCounts
    Clones: CloneDirectory
    Totals: unit -> CopyTotals
    Requests: unit -> RequestCount list
    UnknownHosts: unit -> UnknownHosts
    Tap: Tap
    Source: SourceMetrics
    Budget: BufferBudget
    /// None if there is none.
    Journal: StatusJournal option
    DeadLetters: DeadLetterService
    /// How many replicas there are; None where that is not known.
    Replicas: unit -> int option
}
