/// What the pages have in common: the document, figures as text, and times. Every text is escaped.
module K8sReq.Host.Admin.Markup

open System
open System.Globalization
open Giraffe.ViewEngine

/// With a comma at each thousand.
let number (value: int64) : string =
    value.ToString("N0", CultureInfo.InvariantCulture)

/// In a column of figures: of more than a million, three digits are enough.
let compact (value: int64) : string =
    let short (unit: float) (name: string) =
        let count = float value / unit

        count.ToString((if count < 100.0 then "0.#" else "0"), CultureInfo.InvariantCulture)
        + name

    if value < 1_000_000L then number value
    elif value < 1_000_000_000L then short 1e6 " M"
    else short 1e9 " G"

/// With a capital at its beginning.
let capitalised (text: string) : string =
    if text = "" then
        ""
    else
        string (Char.ToUpperInvariant text[0]) + text.Substring 1

/// So many of something that takes an s in the plural.
let many (value: int) (what: string) : string =
    number (int64 value) + " " + (if value = 1 then what else what + "s")

/// So many of something, with its plural.
let many64 (value: int64) (one: string) (several: string) : string =
    number value + " " + (if value = 1L then one else several)

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

/// How long ago, in words that change seldom: what is known to ten seconds is not told to one.
let ago (time: TimeSpan) : string =
    let count (value: float) (unit: string) = $"{int64 value} {unit} ago"

    if time < TimeSpan.FromSeconds 15.0 then
        "just now"
    elif time < TimeSpan.FromMinutes 1.0 then
        count (floor (time.TotalSeconds / 10.0) * 10.0) "s"
    elif time < TimeSpan.FromHours 2.0 then
        count time.TotalMinutes "min"
    elif time < TimeSpan.FromDays 2.0 then
        count time.TotalHours "h"
    else
        count time.TotalDays "days"

/// How long something has lasted, in the same words.
let lasting (time: TimeSpan) : string =
    if time < TimeSpan.FromMinutes 1.0 then
        "less than a minute"
    elif time < TimeSpan.FromHours 2.0 then
        $"{int64 time.TotalMinutes} min"
    elif time < TimeSpan.FromDays 2.0 then
        $"{int64 time.TotalHours} h"
    else
        $"{int64 time.TotalDays} days"

/// A share in percent. Of what is not all and not nothing, never 100 or 0.
let percent (part: int) (whole: int) : string =
    if whole = 0 then
        "0 %"
    else
        let share = float part / float whole * 100.0

        if part < whole && share > 99.0 then
            "over 99 %"
        elif part > 0 && share < 1.0 then
            "under 1 %"
        else
            share.ToString("0", CultureInfo.InvariantCulture) + " %"

/// A name that may be broken after its dots, dashes and slashes, and not within words as long as there is room for those.
let breakable (text: string) : XmlNode list =
    let parts = ResizeArray<XmlNode>()
    let mutable start = 0

    for index in 0 .. text.Length - 2 do
        if ".-/:".Contains text[index] && not (".-/:".Contains text[index + 1]) then
            parts.Add(str (text.Substring(start, index + 1 - start)))
            parts.Add(voidTag "wbr" [])
            start <- index + 1

    parts.Add(str (text.Substring start))
    List.ofSeq parts

/// Hours and minutes, in UTC; with the day if that is another one than that of `now`.
let shortTime (now: DateTimeOffset) (at: DateTimeOffset) : XmlNode =
    let format =
        if at.UtcDateTime.Date = now.UtcDateTime.Date then
            "HH:mm"
        else
            "yyyy-MM-dd HH:mm"

    time [ attr "datetime" (JsonOutput.timeText at) ] [ str (at.UtcDateTime.ToString format) ]

/// The same to the second.
let timeOfDay (now: DateTimeOffset) (at: DateTimeOffset) : XmlNode =
    let format =
        if at.UtcDateTime.Date = now.UtcDateTime.Date then
            "HH:mm:ss"
        else
            "yyyy-MM-dd HH:mm:ss"

    time [ attr "datetime" (JsonOutput.timeText at) ] [ str (at.UtcDateTime.ToString format) ]

/// To the second, in UTC.
let clockTime (at: DateTimeOffset) : XmlNode =
    time [ attr "datetime" (JsonOutput.timeText at) ] [ str (at.UtcDateTime.ToString "yyyy-MM-dd HH:mm:ss") ]

/// A section with this id, under a heading.
let titled (id: string) (title: string) (content: XmlNode list) : XmlNode =
    section
        [ _id id; attr "aria-labelledby" (id + "-title") ]
        (h2 [ _id (id + "-title") ] [ str title ] :: content)

/// A whole page; `more` belongs to its head. `root` leads to the first page: empty, or `../` for each folder that the page is in.
let document (root: string) (title: string) (more: XmlNode list) (content: XmlNode list) : string =
    html [ _lang "en" ] [
        head [] [
            meta [ _charset "utf-8" ]
            meta [ _name "viewport"; _content "width=device-width, initial-scale=1" ]
            meta [ _name "color-scheme"; _content "light dark" ]
            tag "title" [] [ str title ]
            link [ _rel "icon"; _href "data:," ]
            link [ _rel "stylesheet"; _href (root + "style.css") ]
            yield! more
        ]
        body [] content
    ]
    |> RenderView.AsString.htmlDocument
