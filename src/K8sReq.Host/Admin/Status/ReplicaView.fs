/// What this replica is, and its figures since it was started.
module K8sReq.Host.Admin.Status.ReplicaView

open System
open System.Globalization
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Host.Admin.Markup

/// A version without its commit, and the commit, as far as anybody tells commits apart.
let versionParts (version: string) : string * string option =
    match version.IndexOf '+' with
    | -1 -> version, None
    | plus ->
        let commit = version.Substring(plus + 1)
        version.Substring(0, plus), Some(commit.Substring(0, min 12 commit.Length))

// A figure and what it is of; `tone` marks what wants to be looked at.
let private figure (tone: string) (name: string) (value: string) (note: XmlNode list) : XmlNode =
    div [ _class ("figure " + tone) ] [
        dt [] [ str name ]
        dd [] [
            strong [] [ str value ]
            if not note.IsEmpty then
                small [] note
        ]
    ]

let private toneIf (isSo: bool) (tone: string) = if isSo then tone else ""

let private shareOf (totals: CopyTotals) : string =
    let finished = totals.Delivered + totals.Failed + totals.Dropped + totals.Expired

    if finished = 0L then
        "none finished"
    else
        // Rounded down: 100 % means all of them.
        let share = Math.Floor(float totals.Delivered / float finished * 10000.0) / 100.0
        share.ToString("0.##", CultureInfo.InvariantCulture) + " % of finished copies"

let private copies (now: StatusSummary) : XmlNode list =
    let totals = now.Totals

    [
        figure "" "Requests answered" (number (now.Requests |> List.sumBy snd)) [
            now.Requests
            |> List.map (fun (status, count) -> $"{status}: {number count}")
            |> String.concat ", "
            |> str
        ]
        figure "" "Copies accepted" (number totals.Accepted) [
            str $"{number totals.Pending} pending, {number totals.Retries} retries"
        ]
        figure "" "Delivered" (number totals.Delivered) [ str (shareOf totals) ]
        figure (toneIf (totals.Failed > 0L) "bad") "Failed" (number totals.Failed) [
            str "rejected or unreachable"
        ]
        figure (toneIf (totals.Dropped > 0L) "bad") "Dropped" (number totals.Dropped) [
            str "queue full, or route removed"
        ]
        if now.Stored.IsSome || totals.Expired > 0L then
            figure (toneIf (totals.Expired > 0L) "bad") "Expired" (number totals.Expired) [
                str "not delivered in time"
            ]
    ]

let private waiting (now: StatusSummary) : XmlNode list =
    let load = now.Load
    let queued = load.Queued + load.Parked

    [
        figure "" "In flight" (number (int64 load.Sending)) [
            if queued = 0 then
                str "queue empty"
            else
                str
                    $"{number (int64 queued)} more wait ({bytes load.WaitingBytes}), the first for {duration now.OldestWait}"
        ]
        match now.Stored with
        | ValueSome stored ->
            figure "" "Backlog" (number stored.Backlog) [
                if stored.Backlog = 0L then
                    str "nothing waits in the journal alone"
                else
                    str $"in the journal alone, the oldest for {lasting stored.OldestAge}"
            ]

            figure (toneIf (stored.DeadLetters > 0L) "bad") "Dead letters" (number stored.DeadLetters) [
                a [ _href "dead" ] [ str "see, send again, remove" ]
            ]
        | ValueNone -> ()
    ]

let private state (now: StatusSummary) : XmlNode list =
    let version, commit = versionParts now.Version

    [
        figure (toneIf (not now.IsReady) "bad") "State" (if now.IsReady then "ready" else "not ready") [
            str $"up for {lasting (max TimeSpan.Zero (now.At - now.StartedAt))}"
        ]
        figure (toneIf (now.Counts.Unrouted > 0) "bad") "Routes" (number (int64 now.Counts.Targets)) [
            str
                $"""for {many now.Counts.Hosts "host"}; {many now.Counts.Unrouted "RequestClone"} not routed"""
        ]
        figure
            (toneIf now.LastSync.IsNone "bad")
            "Last sync"
            (match now.LastSync with
             | Some at -> ago (max TimeSpan.Zero (now.At - at))
             | None -> "never")
            [
                str (
                    if now.LastSync.IsSome then
                        "routes as the source has them"
                    else
                        "the routes are not known"
                )
            ]
        figure "" "Leader" (if now.Leader = "" then "none" else now.Leader) [
            str (
                if now.IsLeading then "this replica"
                elif now.Leader = "" then "not used without a cluster"
                else "writes statuses"
            )
        ]
        figure "" "Memory" (bytes now.ResidentMemory) [
            str $"{bytes now.BufferUsed} of {bytes now.BufferLimit} for requests"
        ]
        figure "" "Version" version [
            match commit with
            | Some commit -> str $"commit {commit}"
            | None -> ()
        ]
    ]

/// Which replica it is, for the head of each page.
let identity (now: StatusSummary) : XmlNode =
    p [ _id "identity" ] [
        str "Replica "
        strong [] (breakable now.Instance)
        match now.Replicas with
        | Some count -> str $" of {number (int64 count)}"
        | None -> ()
        if now.IsLeading then
            str ", leader"
        elif now.Leader <> "" then
            str ", not leader"
    ]

/// The figures of this replica.
let replica (now: StatusSummary) : XmlNode =
    titled "replica" "This replica since its start" [
        dl [ _class "figures" ] [ yield! copies now; yield! waiting now; yield! state now ]
    ]
