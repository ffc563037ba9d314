namespace K8sReq.Host.Admin.Status

open System
open K8sReq.Core
open K8sReq.Proxy

/// A RequestClone and what became of its copies, at one moment.
[<NoComparison; NoEquality>]
type RouteStatus = {
    Clone: ResolvedClone
    At: DateTimeOffset
    State: RouteState
    Totals: CopyTotals
    LastMinute: CopyWindow
    LastTenMinutes: CopyWindow
    Load: LaneLoad
    OldestWait: TimeSpan
    /// None without a journal.
    Stored: StoredCopies voption
    /// None if it has had no copies.
    History: CopyHistory voption
    /// How long deliveries of the last minutes took, in classes; empty if it has had no copies.
    Durations: int64[]
} with

    member status.Key = status.Clone.Clone.Key

    /// None of a RequestClone that is not valid.
    member status.Host: string option =
        match status.Clone.Clone.Spec with
        | Ok spec -> Some spec.Host.Value
        | Error _ -> None

    /// Copies in the queue, between two attempts, or in the journal.
    member status.Waiting: int64 =
        int64 (status.Load.Queued + status.Load.Parked)
        + (match status.Stored with
           | ValueSome stored -> stored.Backlog
           | ValueNone -> 0L)

    /// Copies that finished without being delivered, since the process began.
    member status.Lost: int64 =
        status.Totals.Failed + status.Totals.Dropped + status.Totals.Expired

    member status.Quantile(share: float) : TimeSpan option =
        if status.Durations.Length = 0 then
            None
        else
            DurationBuckets.quantile share status.Durations

    /// To ten seconds; None if no copy was delivered since the process began.
    member status.LastSuccess: DateTimeOffset option =
        match status.History with
        | ValueSome history ->
            match history.LastDelivered(status.Totals, status.At) with
            | ValueSome at -> Some at
            | ValueNone -> None
        | ValueNone -> None

    /// Since when it is in its state, where that is known.
    member status.Since: DateTimeOffset option =
        match status.State, status.History with
        | (RouteState.Failing | RouteState.Dropping), ValueSome history -> Some(history.LosingSince status.At)
        | RouteState.NotRouted, _ ->
            status.Clone.Clone.Observed
            |> Option.bind _.Ready
            |> Option.filter (fun ready -> ready.IsReady = Some false)
            |> Option.bind _.LastTransition
        | RouteState.Waiting, _ when status.OldestAge > TimeSpan.Zero -> Some(status.At - status.OldestAge)
        | _ -> None

    /// Of the first in the queue, or the oldest in the journal.
    member status.OldestAge: TimeSpan =
        match status.Stored with
        | ValueSome stored -> max status.OldestWait stored.OldestAge
        | ValueNone -> status.OldestWait

module RouteStatus =
    let private median (durations: int64[]) =
        if durations.Length = 0 then
            None
        else
            DurationBuckets.quantile 0.5 durations

    /// Reads what is known of it now.
    let read (sources: StatusSources) (at: DateTimeOffset) (clone: ResolvedClone) : RouteStatus =
        let key = clone.Clone.Key
        let entry = sources.Clones.TryFind key

        let stored =
            match sources.Journal with
            | Some journal -> ValueSome(journal.Of key)
            | None -> ValueNone

        let totals, history =
            match entry with
            | ValueSome entry -> entry.Statistics.Totals, entry.Statistics.History
            | ValueNone -> CopyTotals.zero, ValueNone

        let struct (load, oldest) =
            match entry with
            // Of ten thousand most have nothing under way.
            | ValueSome entry when totals.Pending > 0L -> entry.Load
            | _ -> struct (LaneLoad.empty, TimeSpan.Zero)

        let minute, tenMinutes, loss, durations =
            match history with
            | ValueSome history ->
                history.LastMinute totals,
                history.LastTenMinutes totals,
                history.Loss totals,
                history.Durations
            | ValueNone -> CopyWindow.empty, CopyWindow.empty, RouteLoss.None, [||]

        let status = {
            Clone = clone
            At = at
            State = RouteState.Idle
            Totals = totals
            LastMinute = minute
            LastTenMinutes = tenMinutes
            Load = load
            OldestWait = oldest
            Stored = stored
            History = history
            Durations = durations
        }

        {
            status with
                State =
                    RouteState.ofActivity {
                        IsRouted = Result.isOk clone.Resolved
                        Loss = loss
                        LastMinute = minute
                        LastTenMinutes = tenMinutes
                        Sending = load.Sending
                        Waiting = status.Waiting
                        OldestWait = status.OldestAge
                        Median = median durations
                    }
        }
