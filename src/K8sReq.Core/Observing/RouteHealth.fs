namespace K8sReq.Core

open System

/// Copies that finished within a length of time.
[<Struct>]
type CopyWindow = {
    Delivered: int
    /// Failed or expired.
    Failed: int
    Dropped: int
} with

    member window.Lost = window.Failed + window.Dropped
    member window.Finished = window.Delivered + window.Lost

module CopyWindow =
    let empty = {
        Delivered = 0
        Failed = 0
        Dropped = 0
    }

    let add (one: CopyWindow) (other: CopyWindow) : CopyWindow = {
        Delivered = one.Delivered + other.Delivered
        Failed = one.Failed + other.Failed
        Dropped = one.Dropped + other.Dropped
    }

/// Whether a route loses copies.
[<RequireQualifiedAccess; Struct>]
type RouteLoss =
    | None
    /// The target rejects them, or cannot be reached, or they expire.
    | Failing
    /// Most of what is lost was never sent: there was no room.
    | Dropping

module RouteLoss =
    /// A route loses copies from this share of the finished ones on. Less is counted, and changes no state.
    let leastShare = 0.01

    /// From the last minute; from the last ten if no copy finished in it. If none finished in those either it stays as it was: a
    /// route that fails once an hour does not become well in between.
    let judge (before: RouteLoss) (minute: CopyWindow) (tenMinutes: CopyWindow) : RouteLoss =
        let judged = if minute.Finished > 0 then minute else tenMinutes

        if judged.Finished = 0 then
            before
        elif judged.Lost = 0 || float judged.Lost < leastShare * float judged.Finished then
            RouteLoss.None
        elif judged.Dropped > judged.Failed then
            RouteLoss.Dropping
        else
            RouteLoss.Failing

/// What is known of a RequestClone and its copies at one moment.
[<Struct; NoComparison>]
type RouteActivity = {
    IsRouted: bool
    Loss: RouteLoss
    LastMinute: CopyWindow
    LastTenMinutes: CopyWindow
    /// Copies that are being sent.
    Sending: int
    /// Copies in the queue, between two attempts, or in the journal.
    Waiting: int64
    /// Since the first in the queue, or the oldest in the journal, began to wait.
    OldestWait: TimeSpan
    /// Half of the deliveries of the last minutes took this long or longer; None if there were none.
    Median: TimeSpan option
}

/// How a route does. The worst comes first: routes are shown in this order.
[<RequireQualifiedAccess>]
type RouteState =
    | Failing
    | Dropping
    | NotRouted
    /// Copies wait, and none was delivered in the last minute.
    | Waiting
    /// Copies are delivered, and take long.
    | Slow
    | Delivering
    /// No copy finished in the last ten minutes, and none waits.
    | Idle

module RouteState =
    /// Half of the deliveries take this long: the route is slow.
    let slowMedian = TimeSpan.FromSeconds 2.0

    /// A copy has waited this long: the route is slow.
    let longWait = TimeSpan.FromSeconds 5.0

    /// The worst first.
    let all = [
        RouteState.Failing
        RouteState.Dropping
        RouteState.NotRouted
        RouteState.Waiting
        RouteState.Slow
        RouteState.Delivering
        RouteState.Idle
    ]

    /// Position in `all`.
    let rank (state: RouteState) : int =
        match state with
        | RouteState.Failing -> 0
        | RouteState.Dropping -> 1
        | RouteState.NotRouted -> 2
        | RouteState.Waiting -> 3
        | RouteState.Slow -> 4
        | RouteState.Delivering -> 5
        | RouteState.Idle -> 6

    /// For people, and as the interface has it.
    let name (state: RouteState) : string =
        match state with
        | RouteState.Failing -> "Failing"
        | RouteState.Dropping -> "Dropping"
        | RouteState.NotRouted -> "Not routed"
        | RouteState.Waiting -> "Waiting"
        | RouteState.Slow -> "Slow"
        | RouteState.Delivering -> "Delivering"
        | RouteState.Idle -> "Idle"

    /// Whether somebody should look at the route.
    let isTrouble (state: RouteState) : bool =
        match state with
        | RouteState.Failing
        | RouteState.Dropping
        | RouteState.NotRouted
        | RouteState.Waiting
        | RouteState.Slow -> true
        | RouteState.Delivering
        | RouteState.Idle -> false

    let ofActivity (activity: RouteActivity) : RouteState =
        if not activity.IsRouted then
            RouteState.NotRouted
        else
            match activity.Loss with
            | RouteLoss.Failing -> RouteState.Failing
            | RouteLoss.Dropping -> RouteState.Dropping
            | RouteLoss.None ->
                let isSlow =
                    activity.OldestWait >= longWait
                    || activity.Median |> Option.exists (fun median -> median >= slowMedian)

                if activity.Waiting > 0L && activity.LastMinute.Delivered = 0 then
                    RouteState.Waiting
                elif isSlow && activity.LastTenMinutes.Delivered > 0 then
                    RouteState.Slow
                elif activity.Sending > 0 || activity.LastTenMinutes.Delivered > 0 then
                    RouteState.Delivering
                else
                    RouteState.Idle
