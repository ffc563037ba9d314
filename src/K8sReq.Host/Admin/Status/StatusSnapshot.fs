namespace K8sReq.Host.Admin.Status

open System
open System.Threading
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
}

/// Everything but the single routes, at one moment.
type StatusSummary = {
    Version: string
    Instance: string
    At: DateTimeOffset
    StartedAt: DateTimeOffset
    IsReady: bool
    Counts: RoutingCounts
    Totals: CopyTotals
    /// Of all lanes together.
    Load: LaneLoad
    /// How long the first copy in any queue has waited.
    OldestWait: TimeSpan
    /// None without a journal.
    Stored: StoredCopies voption
    /// Requests answered, by status code.
    Requests: (int * int64) list
    /// Requests refused, by reason (`Refusal.word`).
    Refusals: (string * int64) list
    UnknownHosts: UnknownHosts
    /// The time for which all routes are known to be what the source has; None before the first.
    LastSync: DateTimeOffset option
    IsLeading: bool
    /// Empty for nobody, and where there is no such thing.
    Leader: string
    /// Bytes.
    ResidentMemory: int64
    BufferUsed: int64
    BufferLimit: int64
}

/// A RequestClone and what became of its copies.
[<NoComparison>]
type RouteStatus = {
    Clone: ResolvedClone
    Totals: CopyTotals
    Load: LaneLoad
    OldestWait: TimeSpan
    /// None without a journal.
    Stored: StoredCopies voption
    /// None if it has had no copies.
    History: CopyHistory voption
}

/// Those of the RequestClones that somebody wants to see.
type RoutePage = {
    Query: StatusQuery
    /// How many match.
    Total: int
    Shown: ResolvedClone[]
    /// Whether there is a journal to tell of.
    HasJournal: bool
}

/// The RequestClones in the order in which they are shown: sorted again only when the table has changed.
[<Sealed>]
type private OrderedClones(table: unit -> RouteTable) =
    // Guards both: `clones` is `known` in the order of the page.
    let gate = Lock()
    let mutable known = RouteTable.empty
    let mutable clones: ResolvedClone[] = [||]

    member _.Now: ResolvedClone[] =
        exclusively gate (fun () ->
            let now = table ()

            if not (Object.ReferenceEquals(now, known)) then
                clones <- StatusQuery.ordered now.Clones.Values
                known <- now

            clones)

/// What is read of the sources for the page, its events and the interface.
[<Sealed>]
type StatusSnapshot(sources: StatusSources) =
    let ordered = OrderedClones sources.Table

    static let failuresShown = 50

    let isLosing (clone: ResolvedClone) =
        match sources.Clones.TryFind clone.Clone.Key with
        | ValueSome entry -> entry.Statistics.IsLosing
        | ValueNone -> false

    let sumBy (key: RequestCount -> 'Key) (counts: RequestCount list) : ('Key * int64) list =
        counts
        |> List.groupBy key
        |> List.map (fun (key, counts) -> key, counts |> List.sumBy _.Count)
        |> List.sortBy fst

    member _.Summary() : StatusSummary =
        let requests = sources.Requests()
        let mutable load = LaneLoad.empty
        let mutable oldest = TimeSpan.Zero

        for entry in sources.Clones.Unordered do
            // Of ten thousand most have nothing under way.
            if entry.Statistics.Totals.Pending > 0L then
                let struct (ofClone, wait) = entry.Load
                load <- LaneLoad.add load ofClone
                oldest <- max oldest wait

        {
            Version = sources.Version
            Instance = sources.Instance
            At = sources.Clock.GetUtcNow()
            StartedAt = sources.StartedAt
            IsReady = sources.IsReady()
            Counts = sources.Counts()
            Totals = sources.Totals()
            Load = load
            OldestWait = oldest
            Stored =
                match sources.Journal with
                | Some journal -> ValueSome(journal.All())
                | None -> ValueNone
            Requests = requests |> sumBy _.Status
            Refusals = requests |> List.filter (fun count -> count.Reason <> "") |> sumBy _.Reason
            UnknownHosts = sources.UnknownHosts()
            LastSync = sources.Source.LastSync
            IsLeading = sources.Source.IsLeading
            Leader = sources.Source.Leader
            ResidentMemory = Environment.WorkingSet
            BufferUsed = sources.Budget.Used
            BufferLimit = sources.Budget.Total
        }

    /// The RequestClones that a query asks for. Without a text and with every state it takes no longer for 10,000 of them
    /// than for ten, else as long as looking at all names takes.
    member _.Select(query: StatusQuery) : RoutePage =
        let clones = ordered.Now

        let matching =
            if query.Text = "" && query.State = RouteStateFilter.All then
                clones
            else
                clones
                |> Array.filter (fun clone ->
                    StatusQuery.matches query clone
                    && (query.State <> RouteStateFilter.Failing || isLosing clone))

        // Who is past the end, because there are fewer now, sees the last ones.
        let offset =
            if query.Offset < matching.Length then
                query.Offset
            else
                max 0 ((matching.Length - 1) / query.Limit * query.Limit)

        {
            Query = { query with Offset = offset }
            Total = matching.Length
            Shown = Array.sub matching offset (min query.Limit (matching.Length - offset))
            HasJournal = sources.Journal.IsSome
        }

    /// What became of a RequestClone's copies.
    member _.StatusOf(clone: ResolvedClone) : RouteStatus =
        let stored =
            match sources.Journal with
            | Some journal -> ValueSome(journal.Of clone.Clone.Key)
            | None -> ValueNone

        match sources.Clones.TryFind clone.Clone.Key with
        | ValueNone -> {
            Clone = clone
            Totals = CopyTotals.zero
            Load = LaneLoad.empty
            OldestWait = TimeSpan.Zero
            Stored = stored
            History = ValueNone
          }
        | ValueSome entry ->
            let struct (load, oldest) = entry.Load

            {
                Clone = clone
                Totals = entry.Statistics.Totals
                Load = load
                OldestWait = oldest
                Stored = stored
                History = entry.Statistics.History
            }

    /// The last copies that were not delivered, the latest first: a few of each RequestClone, so that one whose copies all
    /// fail leaves room for the others.
    member _.Failures() : CopyFailure list =
        [
            for entry in sources.Clones.Unordered do
                yield! entry.Statistics.Failures
        ]
        |> List.sortByDescending _.At
        |> List.truncate failuresShown
