namespace K8sReq.Core

open System

/// Which routes somebody wants to see.
[<RequireQualifiedAccess>]
type RouteStateFilter =
    | All
    /// RequestClones that are not routed.
    | Unrouted
    /// RequestClones some of whose copies were lately not delivered.
    | Failing
    /// RequestClones in a state that somebody should look at.
    | Trouble

/// In which order routes are shown.
[<RequireQualifiedAccess>]
type RouteOrder =
    /// By host: the same from one look to the next, so a program reads all of them part by part.
    | Host
    /// The worst state first, then by host.
    | Trouble

/// What a view of the routes shows.
type StatusQuery = {
    /// A part of a host, RequestClone, Service or address, in any case; empty for all.
    Text: string
    State: RouteStateFilter
    Order: RouteOrder
    /// How many of those that match are passed over.
    Offset: int
    /// How many are shown at most.
    Limit: int
}

module StatusQuery =
    /// Rows of a page where nothing else is asked for.
    let usualLimit = 50

    /// And the most that can be asked for.
    let longestLimit = 500

    /// More of a text than this is no name.
    let private longestText = 260

    let all = {
        Text = ""
        State = RouteStateFilter.All
        Order = RouteOrder.Host
        Offset = 0
        Limit = usualLimit
    }

    let private stateNames = [
        "all", RouteStateFilter.All
        "unrouted", RouteStateFilter.Unrouted
        "failing", RouteStateFilter.Failing
        "trouble", RouteStateFilter.Trouble
    ]

    let private orderName (order: RouteOrder) =
        match order with
        | RouteOrder.Host -> "host"
        | RouteOrder.Trouble -> "trouble"

    /// As it is written in a query string.
    let stateName (state: RouteStateFilter) : string =
        match state with
        | RouteStateFilter.All -> "all"
        | RouteStateFilter.Unrouted -> "unrouted"
        | RouteStateFilter.Failing -> "failing"
        | RouteStateFilter.Trouble -> "trouble"

    let private number (lowest: int) (highest: int) (byDefault: int) (text: string option) =
        match text |> Option.map Int32.TryParse with
        | Some(true, value) -> Math.Clamp(value, lowest, highest)
        | Some(false, _)
        | None -> byDefault

    /// From the fields of a query string (`q`, `state`, `sort`, `offset`, `limit`), each by its name. What is not understood
    /// counts as not given: it is a view, and shows what it shows beside it. `usual` is the order if none is given.
    let ofFields (usual: RouteOrder) (field: string -> string option) : StatusQuery =
        let text = field "q" |> Option.map _.Trim() |> Option.defaultValue ""

        {
            Text = text.Substring(0, min text.Length longestText)
            State =
                field "state"
                |> Option.bind (fun name ->
                    stateNames |> List.tryFind (fun (known, _) -> known = name) |> Option.map snd)
                |> Option.defaultValue RouteStateFilter.All
            Order =
                match field "sort" with
                | Some "host" -> RouteOrder.Host
                | Some "trouble" -> RouteOrder.Trouble
                | Some _
                | None -> usual
            Offset = field "offset" |> number 0 Int32.MaxValue 0
            Limit = field "limit" |> number 1 longestLimit usualLimit
        }

    /// The query string that means it, with its question mark; empty for what is shown without one. `usual` as in `ofFields`.
    let toQueryString (usual: RouteOrder) (query: StatusQuery) : string =
        let fields = [
            if query.Text <> "" then
                "q=" + Uri.EscapeDataString query.Text
            if query.State <> RouteStateFilter.All then
                "state=" + stateName query.State
            if query.Order <> usual then
                "sort=" + orderName query.Order
            if query.Offset > 0 then
                $"offset={query.Offset}"
            if query.Limit <> usualLimit then
                $"limit={query.Limit}"
        ]

        if fields.IsEmpty then
            ""
        else
            "?" + String.concat "&" fields

    let private hostOf (clone: ResolvedClone) =
        match clone.Clone.Spec with
        | Ok spec -> spec.Host.Value
        | Error _ -> ""

    let private serviceOf (clone: ResolvedClone) =
        match clone.Clone.Spec with
        | Ok spec -> spec.ServiceName
        | Error _ -> ""

    /// Whether a RequestClone has the text in one of its names.
    let matches (query: StatusQuery) (clone: ResolvedClone) : bool =
        let has (name: string) =
            name.Contains(query.Text, StringComparison.OrdinalIgnoreCase)

        let isNamed () =
            query.Text = ""
            || has (hostOf clone)
            || has clone.Clone.Key.Name
            || has (string clone.Clone.Key)
            || has (serviceOf clone)
            || (match clone.Resolved with
                | Ok target -> has target.Endpoint
                | Error _ -> false)

        match query.State, clone.Resolved with
        | RouteStateFilter.Unrouted, Ok _ -> false
        // What becomes of copies, the routes do not know.
        | RouteStateFilter.Unrouted, Error _
        | RouteStateFilter.All, _
        | RouteStateFilter.Failing, _
        | RouteStateFilter.Trouble, _ -> isNamed ()

    /// Ordered by host, then by RequestClone; those without a valid host come first.
    let ordered (clones: ResolvedClone seq) : ResolvedClone[] =
        clones
        |> Array.ofSeq
        |> Array.sortWith (fun one other ->
            match String.CompareOrdinal(hostOf one, hostOf other) with
            | 0 -> compare one.Clone.Key other.Clone.Key
            | order -> order)
