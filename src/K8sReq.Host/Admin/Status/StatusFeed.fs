namespace K8sReq.Host.Admin.Status

open System
open System.Collections.Generic
open System.Text
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core
open K8sReq.Proxy

/// What a row was made of. As long as that is the same, so is the row.
[<Struct; CustomEquality; NoComparison>]
type private RowInputs = {
    Clone: ResolvedClone
    State: RouteState
    Totals: CopyTotals
    Waiting: int64
    HistoryVersion: int64
    // -1 without a journal.
    DeadLetters: int64
    LastSuccess: string
} with

    member inputs.IsSame(other: RowInputs) =
        // The object and not what is in it: comparing that would take longer than rendering.
        Object.ReferenceEquals(inputs.Clone, other.Clone)
        && inputs.State = other.State
        && inputs.Totals = other.Totals
        && inputs.Waiting = other.Waiting
        && inputs.HistoryVersion = other.HistoryVersion
        && inputs.DeadLetters = other.DeadLetters
        && inputs.LastSuccess = other.LastSuccess

    override inputs.Equals(other) =
        match other with
        | :? RowInputs as other -> inputs.IsSame other
        | _ -> false

    override inputs.GetHashCode() = inputs.Totals.GetHashCode()

/// A place among those who look on, since a time on the clock. `Ended` when it is given to somebody else.
[<Sealed>]
type StatusPlace(since: int64) =
    let ending = new CancellationTokenSource()
    member internal _.Since = since
    member internal _.GiveUp() = ending.Cancel()
    member _.Ended = ending.Token

/// The parts of the page as they were last rendered, each an element with an id.
[<NoEquality; NoComparison>]
type StatusParts = {
    Overview: RouteOverview
    Health: string
    UnknownHosts: string
    Failures: string
    Replica: string
}

/// What all who look share: however many look, a part is rendered once for each change. From any thread; never anything that
/// requests or copies wait for.
[<Sealed>]
type StatusFeed(snapshot: StatusSnapshot, clock: TimeProvider, interval: TimeSpan) =
    // Guards everything below: what was rendered last, once for all browsers, and who holds a place.
    let gate = Lock()
    let rows = Dictionary<ObjectKey, struct (RowInputs * string)>()
    let mutable renderedAt = Int64.MinValue
    let mutable parts: StatusParts voption = ValueNone
    // The first to come first.
    let places = LinkedList<StatusPlace>()

    // As many browsers as anybody has open; more are refused, for each costs something.
    static let mostPlaces = 64
    // One that has looked on for so long gives its place to one that comes; a browser asks again by itself.
    static let longestKept = TimeSpan.FromMinutes 1.0
    // Rows of those that nobody looks at any more are forgotten from here on.
    static let mostRows = 4 * StatusQuery.longestLimit

    let render () : StatusParts =
        let summary, overview = snapshot.Summary(), snapshot.Overview()

        {
            Overview = overview
            Health = StatusView.part (HealthView.health snapshot.LastFailure summary overview)
            UnknownHosts = StatusView.part (UnknownHostsView.unknownHosts summary.At summary.UnknownHosts)
            Failures = StatusView.part (FailuresView.failures summary.At (snapshot.Failures()))
            Replica = StatusView.part (ReplicaView.replica summary)
        }

    let refresh () : StatusParts =
        let now = clock.GetTimestamp()

        match parts with
        // Half of the time between two events: each event has new figures, and all who look share them.
        | ValueSome parts when clock.GetElapsedTime(renderedAt, now) < interval / 2.0 -> parts
        | _ ->
            let rendered = render ()
            renderedAt <- now
            parts <- ValueSome rendered

            if rows.Count > mostRows then
                rows.Clear()

            rendered

    let rowOf (status: RouteStatus) : string =
        let inputs = {
            Clone = status.Clone
            State = status.State
            Totals = status.Totals
            Waiting = status.Waiting
            HistoryVersion =
                match status.History with
                | ValueSome history -> history.Version
                | ValueNone -> -1L
            DeadLetters =
                match status.Stored with
                | ValueSome stored -> stored.DeadLetters
                | ValueNone -> -1L
            LastSuccess = StateView.lastSuccess status
        }

        match rows.TryGetValue status.Key with
        | true, struct (before, row) when before.IsSame inputs -> row
        | _ ->
            let row = RoutesView.routeRow status
            rows[status.Key] <- struct (inputs, row)
            row

    /// How long it takes from one event to the next.
    member _.Interval = interval

    /// What is rendered for all.
    member _.Parts: StatusParts = exclusively gate refresh

    /// The rows of these RequestClones. A row that has not changed is the same object as before.
    member _.Rows(routes: RouteStatus[]) : string[] =
        exclusively gate (fun () -> Array.map rowOf routes)

    /// One more looks on, until `Leave`, or until the place is ended; None if there are too many, none of whom has looked on for
    /// long.
    member _.TryEnter() : StatusPlace voption =
        exclusively gate (fun () ->
            match places.First with
            | NonNull first when
                places.Count >= mostPlaces
                && clock.GetElapsedTime first.Value.Since >= longestKept
                ->
                places.RemoveFirst()
                first.Value.GiveUp()
            | _ -> ()

            if places.Count < mostPlaces then
                let place = StatusPlace(clock.GetTimestamp())
                places.AddLast place |> ignore
                ValueSome place
            else
                ValueNone)

    /// Looks on no more.
    member _.Leave(place: StatusPlace) : unit =
        exclusively gate (fun () -> places.Remove place |> ignore)
