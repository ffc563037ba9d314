/// The table of routes, and what is asked for in it.
module K8sReq.Host.Admin.Status.RoutesView

open System
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.Markup
open K8sReq.Host.Admin.Status.StateView

/// The page's own order; the interface's is `Host`.
let usualOrder = RouteOrder.Trouble

let private columns (hasJournal: bool) = [
    "State", "state"
    "RequestClone", "route"
    "Finished per min", "number"
    "Delivered, 10 min", "number long"
    "Lost, 10 min", "number"
    "Last success", "time"
    "p99", "number"
    "Waiting", "number"
    if hasJournal then
        "Dead letters", "number"
    "Last 10 minutes", "spark"
]

/// What a route's row is known by within the page.
let rowId (key: ObjectKey) : string = $"route/{key.Namespace}/{key.Name}"

let private cell (label: string) (kind: string) (content: XmlNode list) : XmlNode =
    td [ attr "data-label" label; _class kind ] content

let private count (label: string) (tone: string) (value: int64) : XmlNode =
    cell label ("number " + (if value > 0L then tone else "")) [ str (compact value) ]

/// What is copied, and where to.
let about (status: RouteStatus) : XmlNode list = [
    yield! breakable (status.Host |> Option.defaultValue "no valid host")
    match status.Clone.Resolved with
    | Ok target ->
        str " to Service "
        yield! breakable target.Service.Name
    | Error _ -> str ", not routed"
]

let private deadLetters (key: ObjectKey) (stored: StoredCopies) : XmlNode =
    cell "Dead letters" "number" [
        if stored.DeadLetters = 0L then
            str "0"
        else
            a [ _href ("dead?clone=" + Uri.EscapeDataString(string key)) ] [
                str (compact stored.DeadLetters)
            ]
    ]

let private row (status: RouteStatus) : XmlNode =
    tr [ _id (rowId status.Key) ] [
        cell "State" "state" [ badge status.State ]
        th [ attr "scope" "row"; attr "data-label" "RequestClone"; _class "route" ] [
            a [ _href (pathOf status.Key) ] (breakable (string status.Key))
            small [] (about status)
        ]
        count "Finished per min" "" (int64 status.LastMinute.Finished)
        count "Delivered, 10 min" "" (int64 status.LastTenMinutes.Delivered)
        count "Lost, 10 min" "bad" (int64 status.LastTenMinutes.Lost)
        cell "Last success" "time" [ str (lastSuccess status) ]
        cell "p99" "number" [ str (status.Quantile 0.99 |> Option.map duration |> Option.defaultValue "–") ]
        count "Waiting" "" status.Waiting
        match status.Stored with
        | ValueSome stored -> deadLetters status.Key stored
        | ValueNone -> ()
        cell "Last 10 minutes" "spark" [
            match status.History with
            | ValueSome history when status.LastTenMinutes.Finished > 0 ->
                Chart.sparkline (history.Points status.Totals)
            | _ -> str "–"
        ]
    ]

/// One route, as the row that it is in the page.
let routeRow (status: RouteStatus) : string =
    RenderView.AsString.htmlNode (row status)

let private pager (page: RoutePage) : XmlNode =
    let query = page.Query

    let link (text: string) (offset: int) =
        let address = StatusQuery.toQueryString usualOrder { query with Offset = offset }
        a [ _href (if address = "" then "./" else address); _class "page" ] [ str text ]

    let shownTo = query.Offset + page.Shown.Length

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

/// The routes that are shown, with rows that were rendered before.
let routes (page: RoutePage) (rows: string seq) : XmlNode =
    titled "routes" "Routes" [
        if page.Shown.Length > 0 then
            table [ _class "rows" ] [
                thead [] [
                    tr [] [
                        for name, kind in columns page.HasJournal ->
                            th [ attr "scope" "col"; _class kind ] [ str name ]
                    ]
                ]
                tbody [] [ for row in rows -> rawText row ]
            ]

        pager page
    ]

let private stateChoices = [
    RouteStateFilter.All, "all routes"
    RouteStateFilter.Trouble, "with problems"
    RouteStateFilter.Failing, "with recent failures"
    RouteStateFilter.Unrouted, "not routed"
]

let private orderChoices = [ RouteOrder.Trouble, "trouble"; RouteOrder.Host, "host" ]

let private choice (name: string) (words: string) (chosen: 'T) (choices: ('T * string * string) list) =
    div [ _class "field" ] [
        label [ _for name ] [ str words ]
        select [ _id name; _name name ] [
            for value, code, text in choices ->
                option [
                    _value code
                    if value = chosen then
                        _selected
                ] [ str text ]
        ]
    ]

let filterForm (query: StatusQuery) : XmlNode =
    form [ _id "filter"; _method "get"; _action "./"; attr "role" "search" ] [
        div [ _class "field wide" ] [
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
        ]
        choice "state" "Show" query.State [
            for state, words in stateChoices -> state, StatusQuery.stateName state, words
        ]
        choice "sort" "Sort by" query.Order [ for order, words in orderChoices -> order, words, words ]
        if query.Limit <> StatusQuery.usualLimit then
            input [ _type "hidden"; _name "limit"; _value (string query.Limit) ]
        button [ _type "submit" ] [ str "Find" ]
    ]
