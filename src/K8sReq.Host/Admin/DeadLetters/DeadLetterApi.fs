/// `/api/dead`: dead letters for programs, for `k8sreq dead` and for the page.
module K8sReq.Host.Admin.DeadLetters.DeadLetterApi

open System
open System.Globalization
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin

// A replay or removal of which nobody says how many takes all that fit.
let private mostChanged = Int32.MaxValue

let private answer (status: int) (body: byte[]) : HttpHandler =
    setStatusCode status
    >=> setHttpHeader "Content-Type" "application/json; charset=utf-8"
    >=> setBody body

let private refuse (status: int) (reason: string) : HttpHandler =
    answer status (DeadLetterJson.ofError reason)

let private refuseFor (error: DeadLetterError) : HttpHandler =
    match error with
    | DeadLetterError.NoJournal ->
        refuse StatusCodes.Status404NotFound "there is no journal (JOURNAL), so there are no dead letters"
    | DeadLetterError.Unavailable ->
        refuse StatusCodes.Status503ServiceUnavailable "the journal cannot be used now; the log says why"

let private isTrue (ctx: HttpContext) (name: string) : bool =
    QueryField.tryFind ctx name = Some "true"
    || QueryField.tryFind ctx name = Some ""

let private known =
    set [ "id"; "clone"; "outcome"; "since"; "until"; "limit"; "rate"; "dryRun"; "all" ]

// With a filter that is understood whole: a misspelt field would mean more dead letters than were meant.
let private filtered
    (now: unit -> DateTimeOffset)
    (byDefault: int)
    (handle: DeadLetterFilter -> HttpHandler)
    : HttpHandler =
    fun next ctx ->
        let unknown =
            ctx.Request.Query.Keys |> Seq.filter (known.Contains >> not) |> List.ofSeq

        // Only one of them would count.
        let repeated =
            ctx.Request.Query
            |> Seq.filter (fun field -> field.Value.Count > 1)
            |> Seq.map _.Key
            |> List.ofSeq

        match unknown, repeated, DeadLetterQuery.ofFields (now ()) byDefault (QueryField.tryFind ctx) with
        | name :: _, _, _ -> refuse StatusCodes.Status400BadRequest $"there is no field \"{name}\"" next ctx
        | [], name :: _, _ ->
            refuse StatusCodes.Status400BadRequest $"{name} is given more than once" next ctx
        | [], [], Error faults -> refuse StatusCodes.Status400BadRequest (String.concat "; " faults) next ctx
        | [], [], Ok filter -> handle filter next ctx

// A page from elsewhere may have a browser send anything here but these fields, which the browser writes itself.
let private requireSameOrigin: HttpHandler =
    fun next ctx ->
        let site = string ctx.Request.Headers["Sec-Fetch-Site"]
        let origin = string ctx.Request.Headers.Origin

        let isOwn =
            match Uri.TryCreate(origin, UriKind.Absolute) with
            | true, NonNull uri -> uri.Authority = string ctx.Request.Host.Value
            | _ -> origin = ""

        if (site = "" || site = "same-origin" || site = "none") && isOwn then
            next ctx
        else
            refuse StatusCodes.Status403Forbidden "requests from another site are refused" next ctx

let private list (service: DeadLetterService) (now: unit -> DateTimeOffset) : HttpHandler =
    filtered now DeadLetterFilter.defaultLimit (fun filter next ctx -> task {
        match!
            service.List {
                filter with
                    Limit = min filter.Limit DeadLetterFilter.mostLimit
            }
        with
        | Ok letters -> return! answer StatusCodes.Status200OK (DeadLetterJson.ofList letters) next ctx
        | Error error -> return! refuseFor error next ctx
    })

let private show (service: DeadLetterService) (id: string) : HttpHandler =
    fun next ctx -> task {
        match CopyId.tryParse id with
        | None -> return! refuse StatusCodes.Status404NotFound $"\"{id}\" is no id of a dead letter" next ctx
        | Some id ->
            match! service.Read id with
            | Ok(Some(letter, content)) ->
                let body =
                    DeadLetterJson.ofLetter letter content (isTrue ctx "headers") (isTrue ctx "body")

                return! answer StatusCodes.Status200OK body next ctx
            | Ok None -> return! refuse StatusCodes.Status404NotFound $"there is no dead letter {id}" next ctx
            | Error error -> return! refuseFor error next ctx
    }

// Refuses an empty filter unless the request has all=true.
let private change
    (now: unit -> DateTimeOffset)
    (name: string)
    (change: DeadLetterFilter -> Task<Result<DeadLetterChange, DeadLetterError>>)
    (wouldChange: DeadLetterFilter -> Task<Result<DeadLetterChange, DeadLetterError>>)
    : HttpHandler =
    filtered now mostChanged (fun filter next ctx -> task {
        if DeadLetterFilter.isEverything filter && not (isTrue ctx "all") then
            return!
                refuse
                    StatusCodes.Status400BadRequest
                    "which dead letters: id, clone, outcome, since, until, or all=true"
                    next
                    ctx
        else
            let isDryRun = isTrue ctx "dryRun"

            match! (if isDryRun then wouldChange filter else change filter) with
            | Ok changed ->
                return!
                    answer StatusCodes.Status200OK (DeadLetterJson.ofChange name changed isDryRun) next ctx
            | Error error -> return! refuseFor error next ctx
    })

let private rateOf (ctx: HttpContext) : Result<int option, string> =
    match QueryField.tryFind ctx "rate" with
    | None -> Ok None
    | Some text ->
        match Int32.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, rate when rate >= 1 -> Ok(Some rate)
        | _ -> Error $"rate is \"{text}\", but must be a number of copies a second, from 1"

let private replay (service: DeadLetterService) (now: unit -> DateTimeOffset) : HttpHandler =
    fun next ctx ->
        match rateOf ctx with
        | Error reason -> refuse StatusCodes.Status400BadRequest reason next ctx
        | Ok rate ->
            change now "replayed" (fun filter -> service.Replay(filter, rate)) service.WouldReplay next ctx

let private drop (service: DeadLetterService) (now: unit -> DateTimeOffset) : HttpHandler =
    change now "dropped" service.Drop service.WouldDrop

let private onlyPost: HttpHandler =
    fun next ctx ->
        if HttpMethods.IsPost ctx.Request.Method then
            next ctx
        else
            (setHttpHeader "Allow" "POST"
             >=> refuse StatusCodes.Status405MethodNotAllowed "only POST is answered here")
                next
                ctx

let private prefix = "/api/dead/"

/// Everything under `/api/dead` that only reads.
let reading (service: DeadLetterService) (clock: TimeProvider) : HttpHandler =
    let list = list service clock.GetUtcNow

    choose [
        route "/api/dead" >=> list
        fun next ctx ->
            match string ctx.Request.Path.Value with
            | path when path.StartsWith(prefix, StringComparison.Ordinal) ->
                show service (path.Substring prefix.Length) next ctx
            | _ -> skipPipeline
    ]

/// Everything under it that changes something. To be asked first: it takes the paths of no dead letter.
let changing (service: DeadLetterService) (clock: TimeProvider) : HttpHandler =
    choose [
        route "/api/dead/replay"
        >=> onlyPost
        >=> requireSameOrigin
        >=> replay service clock.GetUtcNow
        route "/api/dead/drop"
        >=> onlyPost
        >=> requireSameOrigin
        >=> drop service clock.GetUtcNow
    ]
