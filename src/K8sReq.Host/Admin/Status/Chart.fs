/// What became of copies over time, as pictures: drawn here, without script, in the colours of the page.
module K8sReq.Host.Admin.Status.Chart

open System
open System.Globalization
open System.Text
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.Markup

let private span (points: CopyWindow[]) : string =
    duration (CopyHistory.SlotLength * float points.Length)

let private told (points: CopyWindow[]) : string =
    let sum = Array.fold CopyWindow.add CopyWindow.empty points
    $"In the last {span points}: {sum.Delivered} delivered, {sum.Failed} failed, {sum.Dropped} dropped"

// One bar for each point, `width` wide with a gap of one, from `under` to `under + value`.
let private bars (height: float) (width: int) (most: int) (counts: struct (int * int)[]) : string =
    let path = StringBuilder()

    counts
    |> Array.iteri (fun index (struct (under, value)) ->
        if value > 0 then
            let scale (count: int) = float count / float most * height

            let text (value: float) =
                value.ToString("0.##", CultureInfo.InvariantCulture)

            // What happened at all is to be seen.
            let bottom = height - scale under
            let tall = min bottom (max (height / 24.0) (scale value))

            path.Append($"M{index * (width + 1)} {text bottom}v-{text tall}h{width}v{text tall}z")
            |> ignore)

    string path

let private stack (height: float) (width: int) (most: int) (points: CopyWindow[]) : XmlNode list =
    let path kind (count: CopyWindow -> struct (int * int)) =
        tag "path" [ _class kind; attr "d" (bars height width most (Array.map count points)) ] []

    [
        path "delivered" (fun point -> struct (0, point.Delivered))
        path "dropped" (fun point -> struct (point.Delivered, point.Dropped))
        path "failed" (fun point -> struct (point.Delivered + point.Dropped, point.Failed))
    ]

let private mostOf (points: CopyWindow[]) : int =
    points |> Array.map _.Finished |> Array.max |> max 1

/// Ten minutes at a glance, a bar for each twenty seconds. Each as high as it can be: see the rate beside it.
let sparkline (points: CopyWindow[]) : XmlNode =
    // The slot that is open has less than the others only because it is not over: it is left out, unless it is all there is.
    let closed = points[1 .. points.Length - 2]

    let pairs =
        (if closed |> Array.exists (fun point -> point.Finished > 0) then
             closed
         else
             points[2..])
        |> Array.chunkBySize 2
        |> Array.map (Array.fold CopyWindow.add CopyWindow.empty)

    let told = told points

    tag "svg" [
        _class "sparkline"
        attr "viewBox" $"0 0 {pairs.Length * 4} 24"
        attr "preserveAspectRatio" "none"
        attr "role" "img"
        attr "aria-label" told
    ] [ tag "title" [] [ str told ]; yield! stack 24.0 3 (mostOf pairs) pairs ]

/// The first of 2, 4, 10, 20, 40, 100 and so on that is not below it: half of each is a whole number.
let niceTop (most: int) : int =
    let rec go (power: int64) =
        match [ 2L; 4L; 10L ] |> List.tryFind (fun step -> step * power >= int64 most) with
        | Some step -> int (min (step * power) (int64 Int32.MaxValue))
        | None -> go (power * 10L)

    go 1L

let private legend: XmlNode =
    ul [ _class "legend" ] [
        for kind, words in
            [
                "delivered", "delivered"
                "failed", "failed or expired"
                "dropped", "dropped"
            ] ->
            li [] [
                Giraffe.ViewEngine.HtmlElements.span [ _class ("key " + kind); attr "aria-hidden" "true" ] []
                str words
            ]
    ]

// The same as numbers, a row for each minute.
let private asTable (at: DateTimeOffset) (points: CopyWindow[]) : XmlNode =
    let minutes =
        points
        |> Array.chunkBySize CopyHistory.MinuteSlots
        |> Array.map (Array.fold CopyWindow.add CopyWindow.empty)

    let number (count: int) =
        td [ _class "number" ] [ str (number (int64 count)) ]

    tag "details" [ _id "as-table" ] [
        tag "summary" [] [ str "As a table" ]
        table [ _class "small" ] [
            thead [] [
                tr [] [
                    th [ attr "scope" "col" ] [ str "Minute to (UTC)" ]
                    for name in [ "Delivered"; "Failed"; "Dropped" ] do
                        th [ attr "scope" "col"; _class "number" ] [ str name ]
                ]
            ]
            tbody [] [
                for back, minute in Array.rev minutes |> Array.indexed ->
                    tr [] [
                        th [ attr "scope" "row" ] [ shortTime at (at - TimeSpan.FromMinutes(float back)) ]
                        number minute.Delivered
                        number minute.Failed
                        number minute.Dropped
                    ]
            ]
        ]
    ]

/// The same with axes, a legend, and a table to read it by. Labels are text of the page: they stay legible at any width.
let outcomes (at: DateTimeOffset) (points: CopyWindow[]) : XmlNode =
    let top = niceTop (mostOf points)
    let height = 120.0
    let width = points.Length * 8

    let line (y: float) =
        tag "path" [
            _class "grid"
            attr "d" $"M0 {int y}h{width}"
            attr "vector-effect" "non-scaling-stroke"
        ] []

    let label (ago: float) (words: string) =
        li [] [ str words; str " "; shortTime at (at - TimeSpan.FromMinutes ago) ]

    figure [ _class "chart" ] [
        legend
        p [ _class "unit" ] [ str $"copies finished in each {duration CopyHistory.SlotLength}" ]
        div [ _class "plot" ] [
            ol [ _class "y-axis"; attr "aria-hidden" "true" ] [
                for count in [ top; top / 2; 0 ] -> li [] [ str (number (int64 count)) ]
            ]
            tag "svg" [
                attr "viewBox" $"0 0 {width} {int height}"
                attr "preserveAspectRatio" "none"
                attr "role" "img"
                attr "aria-label" (told points)
            ] [
                line 0.5
                line (height / 2.0)
                line (height - 0.5)
                yield! stack height 7 top points
            ]
        ]
        ol [ _class "x-axis"; attr "aria-hidden" "true" ] [
            label 10.0 "10 min ago,"
            label 5.0 "5 min,"
            label 0.0 "now,"
        ]
        asTable at points
    ]
