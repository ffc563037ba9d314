/// The page of one route.
module K8sReq.Host.Admin.Status.RouteView

open System
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.Markup
open K8sReq.Host.Admin.Status.StateView

// Two folders down.
let private root = "../../"

let private pair (name: string) (value: XmlNode list) : XmlNode =
    div [] [ dt [] [ str name ]; dd [] value ]

let private text (name: string) (value: string) : XmlNode = pair name [ str value ]

/// What is the matter, and since when.
let state (status: RouteStatus) (last: CopyFailure option) : XmlNode =
    section [
        _id "route-state"
        _class (tone status.State)
        attr "aria-labelledby" "route-title"
    ] [
        h2 [ _id "route-title" ] (breakable (string status.Key))
        p [ _class "note" ] (RoutesView.about status)
        p [ _class "sentence" ] [ badge status.State; str (" " + reason status last + lost status) ]
        match status.Since with
        | Some since ->
            p [] [
                str "Since "
                shortTime status.At since
                str $" UTC ({lasting (status.At - since)})."
            ]
        | None -> ()
    ]

/// What became of its copies: the last ten minutes as a chart, and figures.
let outcomes (status: RouteStatus) : XmlNode =
    let totals = status.Totals

    let quantile (share: float) =
        status.Quantile share |> Option.map duration |> Option.defaultValue "–"

    let figure (tone: string) (name: string) (value: string) (note: string) =
        div [ _class ("figure " + tone) ] [
            dt [] [ str name ]
            dd [] [ strong [] [ str value ]; small [] [ str note ] ]
        ]

    let bad (count: int64) = if count > 0L then "bad" else ""

    titled "outcomes" "Outcomes of the last 10 minutes" [
        match status.History with
        | ValueSome history -> Chart.outcomes status.At (history.Points status.Totals)
        | ValueNone -> p [] [ str "No copy has finished since the start." ]
        dl [ _class "figures" ] [
            figure "" "Finished per min" (number (int64 status.LastMinute.Finished)) "in the last minute"
            figure "" "Last success" (lastSuccess status) "to ten seconds"
            figure
                ""
                "Delivered"
                (number totals.Delivered)
                $"since the start, {number totals.Retries} retries"
            figure (bad totals.Failed) "Failed" (number totals.Failed) "since the start"
            figure (bad totals.Dropped) "Dropped" (number totals.Dropped) "since the start"
            figure (bad totals.Expired) "Expired" (number totals.Expired) "since the start"
            figure "" "p50" (quantile 0.5) "until delivered"
            figure "" "p99" (quantile 0.99) "until delivered"
        ]
    ]

/// What waits, and where.
let waiting (status: RouteStatus) : XmlNode =
    let load = status.Load

    titled "waiting" "Queue and backlog" [
        dl [ _class "pairs" ] [
            text "Being sent" (number (int64 load.Sending))
            text "In the queue" $"{number (int64 load.Queued)} ({bytes load.QueuedBytes})"
            text "Between two attempts" $"{number (int64 load.Parked)} ({bytes load.ParkedBytes})"
            if load.Queued > 0 then
                text "First in the queue waits for" (duration status.OldestWait)
            match status.Stored with
            | ValueSome stored ->
                text "Backlog, in the journal alone" (number stored.Backlog)

                if stored.Backlog > 0L then
                    text "Oldest of the backlog" (lasting stored.OldestAge)

                pair "Dead letters" [
                    a [ _href (root + "dead?clone=" + Uri.EscapeDataString(string status.Key)) ] [
                        str (number stored.DeadLetters)
                    ]
                ]
            | ValueNone -> ()
        ]
    ]

let private policy (delivery: DeliveryPolicy) : XmlNode list =
    let span (time: TimeSpan) = GoDuration.render time
    let retry = delivery.Retry

    [
        text
            "Retries"
            (if retry.Retries = 0 then
                 "none"
             else
                 let growth =
                     match retry.Backoff with
                     | BackoffPolicy.Linear -> "linear"
                     | BackoffPolicy.Exponential -> "exponential"

                 $"{retry.Retries}, {growth} backoff from {span retry.Delay} to {span retry.Longest}")
        text
            "Timeout of an attempt"
            (match delivery.AttemptTimeout with
             | Some time -> span time
             | None -> "the proxy's own timeouts only")
        text
            "Expires after"
            (match delivery.ExpireAfter with
             | Some time -> span time
             | None -> "never")
        text
            "Copies wait in"
            (match delivery.Durability with
             | Some Durability.Journal -> "the journal"
             | Some Durability.Memory -> "memory"
             | None -> "memory")
        text
            "When there is no room"
            (match delivery.WhenFull with
             | FullPolicy.Drop -> "the copy is dropped"
             | FullPolicy.Refuse -> "the request is refused (503)")
        match delivery.DeadLetterKeep with
        | Some keep -> text "Dead letters are kept for" (span keep)
        | None -> ()
        match delivery.DeadLetterSink with
        | Some sink -> text "Dead letters go to" $"{sink.ServiceName}, port {sink.ServicePort}"
        | None -> ()
        if delivery.IsIdentified then
            text "Copies carry" "the request's id and the attempt"
    ]

// Nothing where there is nothing to list.
let private listed (name: string) (separator: string) (items: string list) : XmlNode list =
    match items with
    | [] -> []
    | items -> [ pair name (items |> String.concat separator |> breakable) ]

/// What the RequestClone asks for, and what became of that.
let spec (status: RouteStatus) : XmlNode =
    let readiness = Conditions.wanted status.Clone.Resolved

    titled "spec" "Spec and policy" [
        dl [ _class "pairs" ] [
            pair "Host" (breakable (status.Host |> Option.defaultValue "not valid"))
            match status.Clone.Clone.Spec with
            | Ok spec ->
                yield! listed "Takes" "; or " (List.map RequestMatch.describe spec.Matches)
                yield! listed "Changes" "; " (List.collect CopyFilter.describe spec.Filters)
                pair "Service" [ yield! breakable spec.ServiceName; str $", port {spec.ServicePort}" ]
            | Error _ -> ()
            match status.Clone.Resolved with
            | Ok target -> pair "Address" (breakable target.Endpoint)
            | Error _ -> ()
            pair "Ready" [
                strong [] [ str (if readiness.IsReady then "True" else "False") ]
                str " "
                code [] [ str readiness.Reason ]
                small [] [ str readiness.Message ]
            ]
            match status.Clone.Clone.Spec with
            | Ok spec -> yield! policy spec.Delivery
            | Error _ -> ()
        ]
    ]

let private commands (status: RouteStatus) : XmlNode =
    titled "commands" "Look further" [
        ul [ _class "commands" ] [
            for what, line in Commands.ofRoute status ->
                li [] [
                    span [] [ str what ]
                    pre [] [ code [] [ str line ] ]
                    button [
                        _type "button"
                        attr "data-copy" line
                        attr "aria-label" $"Copy: {line}"
                        attr "hidden" "hidden"
                    ] [ str "Copy" ]
                ]
        ]
    ]

/// The parts that change.
let parts (status: RouteStatus) (last: CopyFailure option) (recent: RecentCopy list) : XmlNode list = [
    state status last
    outcomes status
    waiting status
    spec status
    FailuresView.recent status.At recent
]

let private trail: XmlNode list = [
    nav [ attr "aria-label" "Breadcrumb" ] [ a [ _href root ] [ str "All routes" ] ]
]

/// The whole page.
let page
    (now: StatusSummary)
    (status: RouteStatus)
    (last: CopyFailure option)
    (recent: RecentCopy list)
    : string =
    StatusView.livePage
        root
        $"K8sReq: {status.Key}"
        (Uri.EscapeDataString status.Key.Name + "/events")
        now
        trail [
            state status last
            outcomes status
            div [ _class "columns" ] [ waiting status; spec status ]
            commands status
            FailuresView.recent status.At recent
        ] [ "api/" + pathOf status.Key ]

/// The page of a RequestClone that is not there, or no more.
let missing (now: StatusSummary) (key: ObjectKey) : string =
    StatusView.livePage root $"K8sReq: {key}" "" now trail [
        titled "missing" "There is no such RequestClone" [
            p [] [
                strong [] (breakable (string key))
                str " is not among the routes of this replica. It may have been deleted. "
                a [ _href root ] [ str "All routes" ]
            ]
        ]
    ] [ "api/routes" ]
