/// Hosts that requests came for, and that no RequestClone has.
module K8sReq.Host.Admin.Status.UnknownHostsView

open System
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Host.Admin.Markup

let private mostShown = 20

let unknownHosts (now: DateTimeOffset) (unknown: UnknownHosts) : XmlNode =
    // The list has the latest first; what comes most often is somebody's mistake.
    let hosts = unknown.Hosts |> List.sortByDescending _.Requests

    let others =
        unknown.Others
        + (hosts |> List.skip (min mostShown hosts.Length) |> List.sumBy _.Requests)

    titled "unknown-hosts" "Unknown hosts" [
        if hosts.IsEmpty then
            p [] [ str "No request came for a host that no RequestClone has." ]
        else
            p [] [
                str
                    "Requests came for these hosts, and no RequestClone has them: they were refused with 503. A new RequestClone, or a host that is spelt right in an old one, ends that."
            ]

            table [ _class "rows" ] [
                thead [] [
                    tr [] [
                        th [ attr "scope" "col"; _class "name" ] [ str "Host" ]
                        th [ attr "scope" "col"; _class "number" ] [ str "Requests" ]
                        th [ attr "scope" "col"; _class "time" ] [ str "Last seen" ]
                    ]
                ]
                tbody [] [
                    for host in List.truncate mostShown hosts ->
                        tr [] [
                            th
                                [ attr "scope" "row"; attr "data-label" "Host"; _class "name" ]
                                (breakable host.Host)
                            td [ attr "data-label" "Requests"; _class "number" ] [
                                str (number host.Requests)
                            ]
                            td [ attr "data-label" "Last seen"; _class "time" ] [
                                str (ago (now - host.LastSeen))
                            ]
                        ]
                ]
            ]

            if others > 0L then
                p [ _class "note" ] [ str $"""{many64 others "request" "requests"} for other hosts.""" ]
    ]
