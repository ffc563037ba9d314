/// The status page as markup: the whole page, and its parts, which are the same when they are sent again one by one. A part
/// is an element with an id. Every text is escaped: names and messages come from the cluster.
module K8sReq.Host.Admin.Status.StatusView

open System
open System.Globalization
open System.Text
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.Markup

let private render (node: XmlNode) : string = RenderView.AsString.htmlNode node

// A figure and what it is of; `tone` marks what wants to be looked at.
let private tile (tone: string) (name: string) (value: string) (note: XmlNode list) =
    div [ _class ("tile " + tone) ] [ dt [] [ str name ]; dd [] [ strong [] [ str value ]; small [] note ] ]

let private toneIf (isBad: bool) (tone: string) = if isBad then tone else ""

/// The figures of this replica.
let summary (now: StatusSummary) : XmlNode =
    let totals, load = now.Totals, now.Load

    let answered =
        now.Requests
        |> List.map (fun (status, count) -> $"{status}: {number count}")
        |> String.concat ", "

    let share =
        if totals.Accepted = 0L then
            "none yet"
        else
            let ended = totals.Accepted + totals.Recovered - totals.Pending

            if ended = 0L then
                "none finished"
            else
                // Rounded down: 100 % means all of them.
                let share = Math.Floor(float totals.Delivered / float ended * 10000.0) / 100.0

                share.ToString("0.##", CultureInfo.InvariantCulture) + " % of finished copies"

    titled "summary" "This replica" [
        dl [ _class "tiles" ] [
            tile (toneIf (not now.IsReady) "bad") "State" (if now.IsReady then "ready" else "not ready") [
                str
                    $"{now.Instance}, version {now.Version}, up for {duration (max TimeSpan.Zero (now.At - now.StartedAt))}"
            ]
            tile "" "Requests answered" (number (now.Requests |> List.sumBy snd)) [ str answered ]
            tile "" "Copies accepted" (number totals.Accepted) [
                str $"{number totals.Pending} pending, {number totals.Retries} retries"
            ]
            tile "good" "Delivered" (number totals.Delivered) [ str share ]
            tile (toneIf (totals.Failed > 0L) "bad") "Failed" (number totals.Failed) [
                str "rejected or unreachable"
            ]
            tile (toneIf (totals.Dropped > 0L) "bad") "Dropped" (number totals.Dropped) [
                str "queue full, or route removed"
            ]
            match now.Stored with
            | ValueSome stored ->
                tile "" "Backlog" (number stored.Backlog) [
                    if stored.Backlog = 0L then
                        str "nothing waits in the journal alone"
                    else
                        str $"in the journal alone, the oldest for {duration stored.OldestAge}"
                ]

                tile (toneIf (stored.DeadLetters > 0L) "bad") "Dead letters" (number stored.DeadLetters) [
                    a [ _href "dead" ] [ str "see, send again, remove" ]
                ]
            | ValueNone -> ()
            tile "" "In flight" (number (int64 load.Sending)) [
                if load.Queued + load.Parked = 0 then
                    str "queue empty"
                else
                    str
                        $"{number (int64 (load.Queued + load.Parked))} more wait ({bytes load.WaitingBytes}), the first for {duration now.OldestWait}"
            ]
            tile (toneIf (now.Counts.Unrouted > 0) "warn") "Routes" (number (int64 now.Counts.Targets)) [
                str
                    $"""for {many now.Counts.Hosts "host"}; {many now.Counts.Unrouted "RequestClone"} not routed"""
            ]
            tile
                (toneIf now.LastSync.IsNone "bad")
                "Last sync"
                (match now.LastSync with
                 | Some at -> duration (max TimeSpan.Zero (now.At - at)) + " ago"
                 | None -> "never")
                (match now.LastSync with
                 | Some at -> [ clockTime at; str " UTC" ]
                 | None -> [ str "the routes are not known" ])
            tile "" "Leader" (if now.Leader = "" then "none" else now.Leader) [
                str (
                    if now.IsLeading then "this replica"
                    elif now.Leader = "" then "not used without a cluster"
                    else "writes statuses"
                )
            ]
            tile "" "Memory" (bytes now.ResidentMemory) [
                str $"{bytes now.BufferUsed} of {bytes now.BufferLimit} for requests"
            ]
        ]
    ]

let private sparkHeight = 24.0

// A bar for each slot, upwards from the bottom; what was lost stands on top of what was delivered.
let private bars (points: HistoryPoint[]) (most: float) (bar: HistoryPoint -> struct (int64 * int64)) =
    let path = StringBuilder()

    points
    |> Array.iteri (fun index point ->
        let struct (under, value) = bar point

        if value > 0L then
            let scale (count: int64) = float count / most * sparkHeight
            // What happened at all is to be seen.
            let height = max 1.0 (scale value)
            let bottom = sparkHeight - scale under

            let text (value: float) =
                value.ToString("0.#", CultureInfo.InvariantCulture)

            path.Append(
                $"M{index * 4} {text bottom}v-{text (min height bottom)}h3v{text (min height bottom)}z"
            )
            |> ignore)

    string path

let private sparkline (points: HistoryPoint[]) : XmlNode =
    let most =
        points |> Array.map (fun point -> point.Delivered + point.Lost) |> Array.max

    let lost = points |> Array.sumBy _.Lost
    let perSecond = float most / CopyHistory.SlotLength.TotalSeconds

    let told =
        $"At most {perSecond:``0.#``} copies a second in the last {duration (CopyHistory.SlotLength * float points.Length)}, {number lost} not delivered"

    let path kind data =
        tag "path" [ _class kind; attr "d" data ] []

    tag "svg" [
        attr "viewBox" $"0 0 {points.Length * 4} {int sparkHeight}"
        attr "role" "img"
        attr "aria-label" told
    ] [
        tag "title" [] [ str told ]
        path "delivered" (bars points (float (max 1L most)) (fun point -> struct (0L, point.Delivered)))
        path "lost" (bars points (float (max 1L most)) (fun point -> struct (point.Delivered, point.Lost)))
    ]

let private columns (hasJournal: bool) = [
    "Host", ""
    "RequestClone", ""
    "Target", ""
    "Condition", ""
    "Delivered", "number"
    "Failed", "number"
    "Dropped", "number"
    "Pending", "number"
    if hasJournal then
        "Backlog", "number"
        "Dead letters", "number"
    "Retries", "number"
    "p50", "number"
    "p99", "number"
    "Last 5 minutes", ""
]

/// What a route's row is known by within the page.
let rowId (key: ObjectKey) : string = $"route/{key.Namespace}/{key.Name}"

let private count (label: string) (tone: string) (value: int64) =
    td [ attr "data-label" label; _class ("number " + toneIf (value > 0L) tone) ] [ str (number value) ]

let private stored (clone: ObjectKey) (stored: StoredCopies) : XmlNode list = [
    count "Backlog" "" stored.Backlog
    td [ attr "data-label" "Dead letters"; _class "number" ] [
        if stored.DeadLetters = 0L then
            str "0"
        else
            a [ _href ("dead?clone=" + Uri.EscapeDataString(string clone)) ] [
                str (number stored.DeadLetters)
            ]
    ]
]

let private row (status: RouteStatus) : XmlNode =
    let clone, totals = status.Clone.Clone, status.Totals
    let readiness = Conditions.wanted status.Clone.Resolved

    let host =
        match clone.Spec with
        | Ok spec -> spec.Host.Value
        | Error _ -> "not valid"

    let target =
        match status.Clone.Resolved with
        | Ok target -> [ str target.Service.Name; small [] [ str target.Endpoint ] ]
        | Error _ -> [ str "–" ]

    let condition =
        if readiness.IsReady then
            [ span [ _class "badge good" ] [ str "Ready" ] ]
        else
            [
                span [ _class "badge bad" ] [ str readiness.Reason ]
                small [] [ str readiness.Message ]
            ]

    let durations =
        match status.History with
        | ValueSome history -> history.Durations
        | ValueNone -> [||]

    let quantile label share =
        td [ attr "data-label" label; _class "number" ] [
            str (
                DurationBuckets.quantile share durations
                |> Option.map duration
                |> Option.defaultValue "–"
            )
        ]

    tr [ _id (rowId clone.Key) ] [
        th [ attr "scope" "row"; attr "data-label" "Host" ] [ str host ]
        td [ attr "data-label" "RequestClone" ] [ str clone.Key.Name; small [] [ str clone.Key.Namespace ] ]
        td [ attr "data-label" "Target" ] target
        td [ attr "data-label" "Condition" ] condition
        count "Delivered" "" totals.Delivered
        count "Failed" "bad" totals.Failed
        count "Dropped" "bad" totals.Dropped
        count "Pending" "" totals.Pending
        match status.Stored with
        | ValueSome copies -> yield! stored clone.Key copies
        | ValueNone -> ()
        count "Retries" "" totals.Retries
        quantile "p50" 0.5
        quantile "p99" 0.99
        td [ attr "data-label" "Last 5 minutes"; _class "spark" ] [
            match status.History with
            | ValueSome history -> sparkline (history.Points totals)
            | ValueNone -> str "–"
        ]
    ]

/// One route, as the row that it is in the page.
let routeRow (status: RouteStatus) : string = render (row status)

let private pager (page: RoutePage) : XmlNode list =
    let query = page.Query

    let link (text: string) (offset: int) =
        let address = StatusQuery.toQueryString { query with Offset = offset }
        a [ _href (if address = "" then "./" else address); _class "page" ] [ str text ]

    let shownTo = query.Offset + page.Shown.Length

    [
        p [ _class "pager" ] [
            if page.Total = 0 then
                str (
                    if query.Text = "" && query.State = RouteStateFilter.All then
                        "There is no RequestClone."
                    else
                        "No RequestClone matches."
                )
            else
                str
                    $"{number (int64 query.Offset + 1L)} to {number (int64 shownTo)} of {number (int64 page.Total)} "

            if query.Offset > 0 then
                link "Previous" (max 0 (query.Offset - query.Limit))

            if shownTo < page.Total then
                link "Next" shownTo
        ]
    ]

/// The routes that are shown, with rows that were rendered before.
let routes (page: RoutePage) (rows: string seq) : XmlNode =
    titled "routes" "Routes" [
        if page.Shown.Length > 0 then
            table [
                if page.HasJournal then
                    _class "dense"
            ] [
                thead [] [
                    tr [] [
                        for name, kind in columns page.HasJournal ->
                            th [ attr "scope" "col"; _class kind ] [ str name ]
                    ]
                ]
                tbody [] [ for row in rows -> rawText row ]
            ]

        yield! pager page
    ]

let private failureColumns = [
    "Time (UTC)", ""
    "RequestClone", ""
    "Address", ""
    "Outcome", ""
    "Attempts", "number"
    "Took", "number"
    "Trace", ""
]

/// The last copies that were not delivered.
let failures (failures: CopyFailure list) : XmlNode =
    let line (failure: CopyFailure) =
        tr [] [
            td [ attr "data-label" "Time (UTC)" ] [ clockTime failure.At ]
            td [ attr "data-label" "RequestClone" ] [
                str failure.Target.Clone.Name
                small [] [ str failure.Target.Clone.Namespace ]
            ]
            td [ attr "data-label" "Address" ] [ str failure.Target.Endpoint ]
            td [ attr "data-label" "Outcome" ] [ str (TargetOutcome.describe failure.Outcome) ]
            td [ attr "data-label" "Attempts"; _class "number" ] [ str (string failure.Attempts) ]
            td [ attr "data-label" "Took"; _class "number" ] [ str (duration failure.Duration) ]
            td [ attr "data-label" "Trace" ] [
                if failure.TraceId = "" then
                    str "–"
                else
                    code [] [ str failure.TraceId ]
            ]
        ]

    titled "failures" "Last failures" [
        if failures.IsEmpty then
            p [] [ str "No failures." ]
        else
            table [] [
                thead [] [
                    tr [] [
                        for name, kind in failureColumns ->
                            th [ attr "scope" "col"; _class kind ] [ str name ]
                    ]
                ]
                tbody [] (List.map line failures)
            ]
    ]

let private stateChoices = [
    RouteStateFilter.All, "all routes"
    RouteStateFilter.Failing, "with recent failures"
    RouteStateFilter.Unrouted, "not routed"
]

let private filterForm (query: StatusQuery) : XmlNode =
    form [ _id "filter"; _method "get"; _action "./"; attr "role" "search" ] [
        label [ _for "q" ] [ str "Find" ]
        input [
            _id "q"
            _name "q"
            _type "search"
            _value query.Text
            _placeholder "host, RequestClone, Service or address"
            attr "autocomplete" "off"
            attr "spellcheck" "false"
        ]
        label [ _for "state" ] [ str "Show" ]
        select [ _id "state"; _name "state" ] [
            for state, words in stateChoices ->
                option [
                    _value (StatusQuery.stateName state)
                    if state = query.State then
                        _selected
                ] [ str words ]
        ]
        if query.Limit <> StatusQuery.usualLimit then
            input [ _type "hidden"; _name "limit"; _value (string query.Limit) ]
        button [ _type "submit" ] [ str "Find" ]
    ]

/// How often a browser without JavaScript asks again, in seconds.
let private refreshSeconds = "15"

/// The whole page.
let page (now: StatusSummary) (shown: RoutePage) (rows: string seq) (lost: CopyFailure list) : string =
    document $"K8sReq: {now.Instance}" [
        script [ _src "script.js"; attr "defer" "defer" ] []
        noscript [] [ meta [ attr "http-equiv" "refresh"; _content refreshSeconds ] ]
    ] [
        a [ _class "skip"; _href "#routes" ] [ str "To the routes" ]
        header [] [
            h1 [] [ str "K8sReq" ]
            p [ _id "live"; attr "role" "status" ] [ str "as of page load" ]
            button [
                _id "pause"
                _type "button"
                attr "aria-pressed" "false"
                attr "hidden" "hidden"
            ] [ str "Pause" ]
        ]
        main [] [ summary now; filterForm shown.Query; routes shown rows; failures lost ]
        footer [] [
            p [] [
                str "The same as JSON: "
                a [ _href "api/status" ] [ str "api/status" ]
                str ", "
                a [ _href "api/routes" ] [ str "api/routes" ]
                str ", "
                a [ _href "api/failures" ] [ str "api/failures" ]
            ]
        ]
    ]

/// A part of the page, as it is sent when it has changed.
let part (node: XmlNode) : string = render node
