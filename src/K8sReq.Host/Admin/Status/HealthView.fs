/// The first section of the page: what is failing now, since when, and how much is lost.
module K8sReq.Host.Admin.Status.HealthView

open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Host.Admin.Markup
open K8sReq.Host.Admin.Status.StateView

/// More are on the page below, and are counted here.
let mostListed = 8

let private sinceOf (status: RouteStatus) : XmlNode list =
    match status.Since with
    | Some since -> [
        str " Since "
        shortTime status.At since
        str $" UTC ({lasting (status.At - since)})."
      ]
    | None -> []

let private item (lastFailure: ObjectKey -> CopyFailure option) (status: RouteStatus) : XmlNode =
    li [] [
        badge status.State
        div [] [
            a [ _href (pathOf status.Key) ] (breakable (string status.Key))
            match status.Host with
            | Some host -> span [ _class "for" ] (str " for " :: breakable host)
            | None -> ()
            p [] [
                str (reason status (lastFailure status.Key))
                yield! sinceOf status
                str (lost status)
            ]
        ]
    ]

/// `lastFailure` is asked for those that are listed.
let health
    (lastFailure: ObjectKey -> CopyFailure option)
    (now: StatusSummary)
    (overview: RouteOverview)
    : XmlNode =
    let verdict = Health.verdict now overview
    let trouble = overview.Trouble

    section [ _id "health"; _class verdict.Tone; attr "aria-labelledby" "health-title" ] [
        h2 [ _id "health-title" ] [ str verdict.Sentence ]
        p [ _class "losses" ] [ str (Health.losses now overview) ]
        if trouble.Length > 0 then
            ul [ _class "troubles" ] [
                for status in Array.truncate mostListed trouble -> item lastFailure status
            ]

            if trouble.Length > mostListed then
                p [] [
                    a [ _href "./?state=trouble" ] [
                        str $"All {number (int64 trouble.Length)} routes with problems"
                    ]
                ]
    ]
