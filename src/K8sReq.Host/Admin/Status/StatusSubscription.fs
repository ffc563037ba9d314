namespace K8sReq.Host.Admin.Status

open System
open System.Text
open K8sReq.Core

module private PartEvent =
    let append (out: StringBuilder) (part: string) =
        // A line break would end the field.
        out.Append("event: part\ndata: ").Append(part.Replace('\r', ' ').Replace('\n', ' ')).Append("\n\n")
        |> ignore

/// What one browser has been sent of the first page, and what it has to be sent to see what is so now.
[<Sealed>]
type StatusSubscription(snapshot: StatusSnapshot, feed: StatusFeed, query: StatusQuery) =
    let mutable health = ""
    let mutable shown: ObjectKey[] = [||]
    let mutable total = -1
    let mutable rows: string[] = [||]
    let mutable unknownHosts = ""
    let mutable failures = ""
    let mutable replica = ""

    let sendIfNew (out: StringBuilder) (before: byref<string>) (now: string) =
        if before <> now then
            PartEvent.append out now
            before <- now

    /// The events that bring it up to date, in the order of the page; empty if nothing has changed.
    member _.Next() : string =
        let out = StringBuilder()
        let parts = feed.Parts
        sendIfNew out &health parts.Health

        let page = snapshot.Select(parts.Overview, query)
        let rowsNow = feed.Rows page.Shown
        let shownNow = page.Shown |> Array.map _.Key

        if total <> page.Total || shown <> shownNow then
            PartEvent.append out (StatusView.part (RoutesView.routes page rowsNow))
        else
            for index in 0 .. rowsNow.Length - 1 do
                if not (Object.ReferenceEquals(rows[index], rowsNow[index])) then
                    PartEvent.append out rowsNow[index]

        total <- page.Total
        shown <- shownNow
        rows <- rowsNow
        sendIfNew out &unknownHosts parts.UnknownHosts
        sendIfNew out &failures parts.Failures
        sendIfNew out &replica parts.Replica
        string out

/// The same of the page of one route.
[<Sealed>]
type RouteSubscription(snapshot: StatusSnapshot, key: ObjectKey) =
    let mutable sent: string list = []

    /// The events that bring it up to date; empty if nothing has changed, and if the route is gone.
    member _.Next() : string =
        match snapshot.TryFind key with
        | ValueNone -> ""
        | ValueSome status ->
            let out = StringBuilder()

            let parts =
                RouteView.parts status (snapshot.LastFailure key) (snapshot.Recent key)
                |> List.map StatusView.part

            for index, part in List.indexed parts do
                if List.tryItem index sent <> Some part then
                    PartEvent.append out part

            sent <- parts
            string out
