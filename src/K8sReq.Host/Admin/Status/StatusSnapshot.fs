namespace K8sReq.Host.Admin.Status

open System
open K8sReq.Core
open K8sReq.Proxy

/// Everything but the single routes, at one moment.
type StatusSummary = {
    Version: string
    Instance: string
    At: DateTimeOffset
    StartedAt: DateTimeOffset
    IsReady: bool
    Counts: RoutingCounts
    Totals: CopyTotals
    /// Of all queues together.
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
    /// None where it is not known.
    Replicas: int option
    /// Bytes.
    ResidentMemory: int64
    BufferUsed: int64
    BufferLimit: int64
}

/// Those of the RequestClones that somebody wants to see.
[<NoComparison; NoEquality>]
type RoutePage = {
    Query: StatusQuery
    /// How many match.
    Total: int
    Shown: RouteStatus[]
    /// Whether there is a journal to tell of.
    HasJournal: bool
}

/// What is known of a copy that has finished.
[<RequireQualifiedAccess; NoComparison>]
type RecentCopy =
    | Delivered of CopyDelivered
    | Lost of CopyFailure

    member copy.At: DateTimeOffset =
        match copy with
        | RecentCopy.Delivered copy -> copy.At
        | RecentCopy.Lost failure -> failure.At

/// What is read of the sources for the page, its events and the interface.
[<Sealed>]
type StatusSnapshot(sources: StatusSources) =
    let ordered = OrderedClones sources.Table

    static let failuresShown = 50
    // So that one whose copies all fail leaves room for the others.
    static let failuresOfEach = 4

    let isLosing (status: RouteStatus) =
        match status.History with
        | ValueSome history -> history.HasLost status.Totals
        | ValueNone -> false

    let failuresOf (key: ObjectKey) =
        match sources.Clones.TryFind key with
        | ValueSome entry -> entry.Statistics.Failures
        | ValueNone -> []

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
            Replicas = sources.Replicas()
            ResidentMemory = Environment.WorkingSet
            BufferUsed = sources.Budget.Used
            BufferLimit = sources.Budget.Total
        }

    /// The states of all RequestClones. Of ten thousand it takes some milliseconds: ask once for many readers.
    member _.Overview() : RouteOverview =
        let now = sources.Clock.GetUtcNow()

        ordered.Now
        |> Array.map (RouteStatus.read sources now)
        |> RouteOverview.ofRoutes now

    /// The RequestClones that a query asks for, of an overview.
    member _.Select(overview: RouteOverview, query: StatusQuery) : RoutePage =
        let routes =
            match query.Order with
            | RouteOrder.Host -> overview.ByHost
            | RouteOrder.Trouble -> overview.ByTrouble

        let isShown (status: RouteStatus) =
            StatusQuery.matches query status.Clone
            && (match query.State with
                | RouteStateFilter.All
                | RouteStateFilter.Unrouted -> true
                | RouteStateFilter.Failing -> isLosing status
                | RouteStateFilter.Trouble -> RouteState.isTrouble status.State)

        let matching =
            if query.Text = "" && query.State = RouteStateFilter.All then
                routes
            else
                routes |> Array.filter isShown

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

    /// One RequestClone, if there is such a one.
    member _.TryFind(key: ObjectKey) : RouteStatus voption =
        match sources.Table().Clones.TryGetValue key with
        | true, clone -> ValueSome(RouteStatus.read sources (sources.Clock.GetUtcNow()) clone)
        | false, _ -> ValueNone

    /// The last copies that were not delivered, the latest first: a few of each RequestClone.
    member _.Failures() : CopyFailure list =
        [
            for entry in sources.Clones.Unordered do
                yield!
                    entry.Statistics.Failures
                    |> List.sortByDescending _.At
                    |> List.truncate failuresOfEach
        ]
        |> List.sortByDescending _.At
        |> List.truncate failuresShown

    /// The last copy of a RequestClone that was not delivered.
    member _.LastFailure(key: ObjectKey) : CopyFailure option =
        match failuresOf key with
        | [] -> None
        | failures -> Some(List.maxBy _.At failures)

    /// What is remembered of a RequestClone's copies, the latest first.
    member _.Recent(key: ObjectKey) : RecentCopy list =
        match sources.Clones.TryFind key with
        | ValueNone -> []
        | ValueSome entry ->
            [
                yield! entry.Statistics.Deliveries |> List.map RecentCopy.Delivered
                yield! entry.Statistics.Failures |> List.map RecentCopy.Lost
            ]
            |> List.sortByDescending _.At
