/// How this replica does, in a sentence.
module K8sReq.Host.Admin.Status.Health

open System
open K8sReq.Core
open K8sReq.Host.Admin.Markup

/// `tone` is the colour of the whole: `good`, `warn` or `bad`.
type Verdict = { Tone: string; Sentence: string }

// What so many routes do, after their number.
let private verb (state: RouteState) (count: int) : string =
    let one = count = 1

    match state with
    | RouteState.Failing -> if one then "fails" else "fail"
    | RouteState.Dropping -> if one then "drops copies" else "drop copies"
    | RouteState.NotRouted -> if one then "is not routed" else "are not routed"
    | RouteState.Waiting -> if one then "waits" else "wait"
    | RouteState.Slow -> if one then "is slow" else "are slow"
    | RouteState.Delivering -> if one then "delivers" else "deliver"
    | RouteState.Idle -> if one then "is idle" else "are idle"

let private joined (parts: string list) : string =
    match List.rev parts with
    | [] -> ""
    | [ only ] -> only
    | last :: before -> String.concat ", " (List.rev before) + " and " + last

let private troubled (overview: RouteOverview) : string =
    let total = overview.ByHost.Length

    RouteState.all
    |> List.filter (fun state -> RouteState.isTrouble state && overview.Count state > 0)
    |> List.mapi (fun index state ->
        let count = overview.Count state

        // The first says of how many: "2 of 12 routes fail, 1 is slow".
        if total = 1 then
            $"The only route {verb state count}"
        elif index = 0 then
            $"""{number (int64 count)} of {many total "route"} {verb state count}"""
        else
            $"{number (int64 count)} {verb state count}")
    |> joined

let private well (overview: RouteOverview) : string =
    let total, idle = overview.ByHost.Length, overview.Count RouteState.Idle

    if idle = total then
        "No copy was sent in the last 10 minutes, and none waits."
    elif total = 1 then
        "The only route delivers."
    elif idle = 0 then
        $"All {number (int64 total)} routes deliver."
    else
        let delivering = overview.Count RouteState.Delivering

        $"""All is well: {many delivering "route"} {verb RouteState.Delivering delivering}, {number (int64 idle)} {verb RouteState.Idle idle}."""

/// What is failing, or that nothing is.
let verdict (now: StatusSummary) (overview: RouteOverview) : Verdict =
    let isLosing =
        overview.Count RouteState.Failing
        + overview.Count RouteState.Dropping
        + overview.Count RouteState.NotRouted
            >
            0

    if now.LastSync.IsNone && overview.ByHost.Length = 0 then
        {
            Tone = "bad"
            Sentence = "Not ready: the routes are not known yet."
        }
    elif overview.ByHost.Length = 0 then
        {
            Tone = "warn"
            Sentence = "There is no RequestClone: requests are refused with 503."
        }
    elif overview.Trouble.Length > 0 then
        {
            Tone = if isLosing then "bad" else "warn"
            Sentence = (if now.IsReady then "" else "Not ready. ") + troubled overview + "."
        }
    elif not now.IsReady then
        {
            Tone = "bad"
            Sentence = "Not ready: this replica is stopping, or its journal cannot be used."
        }
    else
        {
            Tone = "good"
            Sentence = well overview
        }

/// How much is lost, recently and in all.
let losses (now: StatusSummary) (overview: RouteOverview) : string =
    let total = now.Totals.Failed + now.Totals.Dropped + now.Totals.Expired
    let recent = overview.LastTenMinutes

    let lately =
        if recent.Finished = 0 then
            "No copy finished in the last 10 minutes."
        elif recent.Lost = 0 then
            $"""Last 10 minutes: {many64 (int64 recent.Delivered) "copy" "copies"} delivered, none lost."""
        else
            $"""Last 10 minutes: {many64 (int64 recent.Lost) "copy" "copies"} lost of {number (int64 recent.Finished)} ({percent recent.Lost recent.Finished})."""

    let inAll =
        if total = 0L then
            "None lost since the start."
        else
            $"""Since the start: {number total} lost of {number (now.Totals.Delivered + total)}."""

    $"{lately} {inAll}"
