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
    Totals: CopyTotals
    HistoryVersion: int64
    // -1 without a journal.
    Backlog: int64
    DeadLetters: int64
} with

    member inputs.IsSame(other: RowInputs) =
        // The object and not what it says: comparing that would take longer than rendering.
        Object.ReferenceEquals(inputs.Clone, other.Clone)
        && inputs.Totals = other.Totals
        && inputs.HistoryVersion = other.HistoryVersion
        && inputs.Backlog = other.Backlog
        && inputs.DeadLetters = other.DeadLetters

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

/// The parts of the page as they were last rendered: however many look, a part is rendered once for each change. From any
/// thread; never anything that requests or copies wait for.
[<Sealed>]
type StatusFeed(snapshot: StatusSnapshot, clock: TimeProvider, interval: TimeSpan) =
    // Guards everything below: what was rendered last, once for all browsers, and who holds a place.
    let gate = Lock()
    let rows = Dictionary<ObjectKey, struct (RowInputs * string)>()
    let mutable renderedAt = Int64.MinValue
    let mutable summary = ""
    let mutable failures = ""
    // The first to come first.
    let places = LinkedList<StatusPlace>()

    // As many browsers as anybody has open; more are refused, for each costs something.
    static let mostPlaces = 64
    // One that has looked on for so long gives its place to one that comes; a browser asks again by itself.
    static let longestKept = TimeSpan.FromMinutes 1.0
    // Rows of those that nobody looks at any more are forgotten from here on.
    static let mostRows = 4 * StatusQuery.longestLimit

    let refresh () =
        let now = clock.GetTimestamp()

        // Half of the time between two events: each event has new figures, and all who look share them.
        if
            renderedAt = Int64.MinValue
            || clock.GetElapsedTime(renderedAt, now) >= interval / 2.0
        then
            renderedAt <- now
            summary <- StatusView.part (StatusView.summary (snapshot.Summary()))
            failures <- StatusView.part (StatusView.failures (snapshot.Failures()))

            if rows.Count > mostRows then
                rows.Clear()

    let rowOf (clone: ResolvedClone) : string =
        let status = snapshot.StatusOf clone

        let struct (backlog, deadLetters) =
            match status.Stored with
            | ValueSome stored -> struct (stored.Backlog, stored.DeadLetters)
            | ValueNone -> struct (-1L, -1L)

        let inputs = {
            Clone = clone
            Totals = status.Totals
            HistoryVersion =
                match status.History with
                | ValueSome history -> history.Version
                | ValueNone -> -1L
            Backlog = backlog
            DeadLetters = deadLetters
        }

        match rows.TryGetValue clone.Clone.Key with
        | true, struct (before, row) when before.IsSame inputs -> row
        | _ ->
            let row = StatusView.routeRow status
            rows[clone.Clone.Key] <- struct (inputs, row)
            row

    /// How long it takes from one event to the next.
    member _.Interval = interval

    /// The summary and the failures as parts of the page.
    member _.Parts: struct (string * string) =
        exclusively gate (fun () ->
            refresh ()
            struct (summary, failures))

    /// The rows of these RequestClones. A row that has not changed is the same object as before.
    member _.Rows(clones: ResolvedClone[]) : string[] =
        exclusively gate (fun () -> Array.map rowOf clones)

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

/// What one browser has been sent, and what it has to be sent to see what is so now.
[<Sealed>]
type StatusSubscription(snapshot: StatusSnapshot, feed: StatusFeed, query: StatusQuery) =
    let mutable summary = ""
    let mutable failures = ""
    let mutable shown: ObjectKey[] = [||]
    let mutable total = -1
    let mutable rows: string[] = [||]

    let append (out: StringBuilder) (part: string) =
        // A line break would end the field.
        out.Append("event: part\ndata: ").Append(part.Replace('\r', ' ').Replace('\n', ' ')).Append("\n\n")
        |> ignore

    /// The events that bring it up to date; empty if nothing has changed.
    member _.Next() : string =
        let out = StringBuilder()
        let struct (summaryNow, failuresNow) = feed.Parts

        if not (Object.ReferenceEquals(summary, summaryNow)) then
            append out summaryNow
            summary <- summaryNow

        let page = snapshot.Select query
        let rowsNow = feed.Rows page.Shown
        let shownNow = page.Shown |> Array.map _.Clone.Key

        if total <> page.Total || shown <> shownNow then
            append out (StatusView.part (StatusView.routes page rowsNow))
        else
            for index in 0 .. rowsNow.Length - 1 do
                if not (Object.ReferenceEquals(rows[index], rowsNow[index])) then
                    append out rowsNow[index]

        total <- page.Total
        shown <- shownNow
        rows <- rowsNow

        if failures <> failuresNow then
            append out failuresNow
            failures <- failuresNow

        string out
