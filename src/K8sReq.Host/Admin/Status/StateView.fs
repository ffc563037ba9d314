/// A route's state in words: the badge, and what stands behind it.
module K8sReq.Host.Admin.Status.StateView

open System
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.Markup

/// What colour it has: red where copies are lost, amber where they are not yet, green where all is well.
let tone (state: RouteState) : string =
    match state with
    | RouteState.Failing
    | RouteState.Dropping
    | RouteState.NotRouted -> "bad"
    | RouteState.Waiting
    | RouteState.Slow -> "warn"
    | RouteState.Delivering -> "good"
    | RouteState.Idle -> "quiet"

let badge (state: RouteState) : XmlNode =
    span [ _class $"badge {tone state}" ] [ str (RouteState.name state) ]

/// The page of a RequestClone, as it is addressed from the first page.
let pathOf (key: ObjectKey) : string =
    $"routes/{Uri.EscapeDataString key.Namespace}/{Uri.EscapeDataString key.Name}"

// Without a capital and a full stop.
let private words (status: RouteStatus) (last: CopyFailure option) : string =
    let judged, time =
        if status.LastMinute.Finished > 0 then
            status.LastMinute, "in the last minute"
        else
            status.LastTenMinutes, "in the last 10 minutes"

    let lost (how: string) (count: int) =
        if judged.Finished = 0 then
            $"the last copies {how}"
        else
            $"{percent count judged.Finished} of copies {how} {time}"

    match status.State with
    | RouteState.Failing ->
        let outcome =
            match last with
            | Some failure -> ": " + TargetOutcome.describe failure.Outcome
            | None -> ""

        lost "failed" judged.Failed + outcome
    | RouteState.Dropping ->
        lost "were dropped" judged.Dropped
        + ", because the queue is full or the route was removed"
    | RouteState.NotRouted -> (Conditions.wanted status.Clone.Resolved).Message
    | RouteState.Waiting ->
        $"""{many64 status.Waiting "copy" "copies"} wait{(if status.Waiting = 1L then "s" else "")}, and none was delivered in the last minute"""
    | RouteState.Slow when status.OldestAge >= RouteState.longWait ->
        $"the first of {number status.Waiting} waiting copies has waited {duration status.OldestAge}"
    | RouteState.Slow ->
        match status.Quantile 0.5 with
        | Some median -> $"half of the deliveries take {duration median} or longer"
        | None -> "deliveries take long"
    | RouteState.Delivering ->
        if status.LastTenMinutes.Lost = 0 then
            "no copy was lost in the last 10 minutes"
        else
            $"{percent status.LastTenMinutes.Delivered status.LastTenMinutes.Finished} of copies were delivered in the last 10 minutes"
    | RouteState.Idle -> "no copy finished in the last 10 minutes, and none waits"

/// What is the matter, in a sentence.
let reason (status: RouteStatus) (last: CopyFailure option) : string = capitalised (words status last) + "."

/// How much is lost, recently and in all, with a blank before it; empty if nothing is.
let lost (status: RouteStatus) : string =
    if status.Lost = 0L then
        ""
    elif status.Lost = int64 status.LastTenMinutes.Lost then
        $" Lost: {number status.Lost}, all in the last 10 minutes."
    else
        $" Lost: {number (int64 status.LastTenMinutes.Lost)} in 10 minutes, {number status.Lost} since the start."

/// When the last copy was delivered, to ten seconds.
let lastSuccess (status: RouteStatus) : string =
    match status.LastSuccess with
    | Some at -> ago (status.At - at)
    | None ->
        if status.Totals.Accepted + status.Totals.Recovered = 0L then
            "–"
        else
            "never"
