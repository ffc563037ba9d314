/// Copies that have finished, as tables: the last failures of all, and what is remembered of one route.
module K8sReq.Host.Admin.Status.FailuresView

open System
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Host.Admin.Markup
open K8sReq.Host.Admin.Status.StateView

// The interface has more.
let private mostShown = 20

let private heads (columns: (string * string) list) : XmlNode =
    thead [] [
        tr [] [
            for name, kind in columns -> th [ attr "scope" "col"; _class kind ] [ str name ]
        ]
    ]

let private cell (label: string) (kind: string) (content: XmlNode list) : XmlNode =
    td [ attr "data-label" label; _class kind ] content

// A column of traces is there where any copy has one.
let private figures (hasTraces: bool) (attempts: int) (took: TimeSpan) (traceId: string) : XmlNode list = [
    cell "Attempts" "number" [ str (string attempts) ]
    cell "Took" "number" [ str (duration took) ]
    if hasTraces then
        cell "Trace" "trace" [ if traceId = "" then str "–" else code [] [ str traceId ] ]
]

let private figureColumns (hasTraces: bool) = [
    "Attempts", "number"
    "Took", "number"
    if hasTraces then
        "Trace", "trace"
]

/// The last copies of all routes that were not delivered.
let failures (now: DateTimeOffset) (failures: CopyFailure list) : XmlNode =
    let failures = List.truncate mostShown failures
    let hasTraces = failures |> List.exists (fun failure -> failure.TraceId <> "")

    let line (failure: CopyFailure) =
        let key = failure.Target.Clone

        tr [] [
            cell "Time (UTC)" "clock" [ timeOfDay now failure.At ]
            cell "RequestClone" "name" [
                a [ _href (pathOf key) ] (breakable (string key))
                small [] (breakable failure.Target.Endpoint)
            ]
            cell "Outcome" "outcome" [ str (TargetOutcome.describe failure.Outcome) ]
            yield! figures hasTraces failure.Attempts failure.Duration failure.TraceId
        ]

    titled "failures" "Last failures" [
        if failures.IsEmpty then
            p [] [ str "No failures since the start." ]
        else
            table [ _class "rows" ] [
                heads (
                    [ "Time (UTC)", "clock"; "RequestClone", "name"; "Outcome", "outcome" ]
                    @ figureColumns hasTraces
                )
                tbody [] (List.map line failures)
            ]
    ]

/// What is remembered of one route's copies.
let recent (now: DateTimeOffset) (copies: RecentCopy list) : XmlNode =
    let hasTraces =
        copies
        |> List.exists (fun copy ->
            match copy with
            | RecentCopy.Delivered copy -> copy.TraceId <> ""
            | RecentCopy.Lost failure -> failure.TraceId <> "")

    let line (copy: RecentCopy) =
        let kind, words, outcome, endpoint, figures =
            match copy with
            | RecentCopy.Delivered copy ->
                "good",
                "Delivered",
                $"answered {copy.Status}",
                copy.Endpoint,
                figures hasTraces copy.Attempts copy.Duration copy.TraceId
            | RecentCopy.Lost failure ->
                "bad",
                capitalised (TargetOutcome.countedAs failure.Outcome),
                TargetOutcome.describe failure.Outcome,
                failure.Target.Endpoint,
                figures hasTraces failure.Attempts failure.Duration failure.TraceId

        tr [] [
            cell "Time (UTC)" "clock" [ timeOfDay now copy.At ]
            cell "Result" "state" [ span [ _class $"badge {kind}" ] [ str words ] ]
            cell "Outcome" "outcome" [ str outcome; small [] (breakable endpoint) ]
            yield! figures
        ]

    titled "recent" "Recent copies" [
        if copies.IsEmpty then
            p [] [ str "No copy has finished since the start." ]
        else
            table [ _class "rows" ] [
                heads (
                    [ "Time (UTC)", "clock"; "Result", "state"; "Outcome", "outcome" ]
                    @ figureColumns hasTraces
                )
                tbody [] (List.map line copies)
            ]

            p [ _class "note" ] [
                str
                    "The last 16 copies that were not delivered, and one delivered copy of each ten seconds, the last 12. Nothing of their requests is kept: no path, no header, no body."
            ]
    ]
