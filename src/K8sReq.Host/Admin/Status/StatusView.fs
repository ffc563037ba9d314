/// The status page as markup: the whole page, and its parts, which are the same when they are sent again one by one. A part
/// is an element with an id. Every text is escaped: names and messages come from the cluster.
module K8sReq.Host.Admin.Status.StatusView

open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Host.Admin.Markup

/// How often a browser without JavaScript asks again, in seconds.
let private refreshSeconds = "15"

/// What the pages that stay up to date have in common: `events` is where their events come from, beside them.
let livePage
    (root: string)
    (title: string)
    (events: string)
    (now: StatusSummary)
    (trail: XmlNode list)
    (content: XmlNode list)
    (interfaces: string list)
    : string =
    document root title [
        link [ _rel "stylesheet"; _href (root + "status.css") ]
        script [ _src (root + "script.js"); attr "defer" "defer" ] []
        noscript [] [ meta [ attr "http-equiv" "refresh"; _content refreshSeconds ] ]
    ] [
        a [ _class "skip"; _href "#content" ] [ str "To the content" ]
        header [] [
            h1 [] [ a [ _href (if root = "" then "./" else root) ] [ str "K8sReq" ] ]
            yield! trail
            ReplicaView.identity now
            div [ _class "live" ] [
                p [ _id "live"; attr "role" "status" ] [ str "as of page load" ]
                button [
                    _id "pause"
                    _type "button"
                    attr "aria-pressed" "false"
                    attr "hidden" "hidden"
                ] [ str "Pause" ]
            ]
        ]
        main [ _id "content"; attr "tabindex" "-1"; attr "data-events" events ] content
        footer [] [
            p [] [
                str "The same as JSON: "
                for index, address in List.indexed interfaces do
                    if index > 0 then
                        str ", "

                    a [ _href (root + address) ] [ str address ]
            ]
        ]
    ]

/// The whole first page.
let page
    (lastFailure: ObjectKey -> CopyFailure option)
    (now: StatusSummary)
    (overview: RouteOverview)
    (shown: RoutePage)
    (rows: string seq)
    (lost: CopyFailure list)
    : string =
    livePage "" $"K8sReq: {now.Instance}" "events" now [] [
        HealthView.health lastFailure now overview
        RoutesView.filterForm shown.Query
        RoutesView.routes shown rows
        UnknownHostsView.unknownHosts now.At now.UnknownHosts
        FailuresView.failures now.At lost
        ReplicaView.replica now
    ] [ "api/status"; "api/routes"; "api/failures"; "api/unknown-hosts" ]

/// A part of the page, as it is sent when it has changed.
let part (node: XmlNode) : string = RenderView.AsString.htmlNode node
