/// What the pages have in common: the document, figures as text, and times. Every text is escaped.
module K8sReq.Host.Admin.Markup

open System
open System.Globalization
open Giraffe.ViewEngine

/// With a comma at each thousand.
let number (value: int64) : string =
    value.ToString("N0", CultureInfo.InvariantCulture)

/// So many of something that takes an s in the plural.
let many (value: int) (what: string) : string =
    number (int64 value) + " " + (if value = 1 then what else what + "s")

/// Bytes as MiB.
let bytes (value: int64) : string =
    let mebibytes = float value / 1048576.0

    mebibytes.ToString((if mebibytes < 10.0 then "0.0" else "0"), CultureInfo.InvariantCulture)
    + " MiB"

/// In the unit that suits it.
let duration (time: TimeSpan) : string =
    let text (value: float) (unit: string) =
        value.ToString((if value < 10.0 then "0.0" else "0"), CultureInfo.InvariantCulture)
        + " "
        + unit

    if time < TimeSpan.FromSeconds 1.0 then
        text time.TotalMilliseconds "ms"
    elif time < TimeSpan.FromMinutes 2.0 then
        text time.TotalSeconds "s"
    elif time < TimeSpan.FromHours 2.0 then
        text time.TotalMinutes "min"
    elif time < TimeSpan.FromDays 2.0 then
        text time.TotalHours "h"
    else
        text time.TotalDays "days"

/// To the second, in UTC.
let clockTime (at: DateTimeOffset) : XmlNode =
    time [ attr "datetime" (JsonOutput.timeText at) ] [ str (at.UtcDateTime.ToString "yyyy-MM-dd HH:mm:ss") ]

/// A section with this id, under a heading.
let titled (id: string) (title: string) (content: XmlNode list) : XmlNode =
    section
        [ _id id; attr "aria-labelledby" (id + "-title") ]
        (h2 [ _id (id + "-title") ] [ str title ] :: content)

/// A whole page; `more` belongs to its head.
let document (title: string) (more: XmlNode list) (content: XmlNode list) : string =
    html [ _lang "en" ] [
        head [] [
            meta [ _charset "utf-8" ]
            meta [ _name "viewport"; _content "width=device-width, initial-scale=1" ]
            meta [ _name "color-scheme"; _content "light dark" ]
            tag "title" [] [ str title ]
            link [ _rel "icon"; _href "data:," ]
            link [ _rel "stylesheet"; _href "style.css" ]
            yield! more
        ]
        body [] content
    ]
    |> RenderView.AsString.htmlDocument
