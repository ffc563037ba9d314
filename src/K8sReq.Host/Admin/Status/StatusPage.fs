/// The page that shows what the proxy does, the events that keep it up to date, and the same for programs.
module K8sReq.Host.Admin.Status.StatusPage

open System
open System.IO
open System.Net
open System.Text
open System.Threading
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Primitives
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin
open K8sReq.Host.Admin.DeadLetters

/// Two seconds: what changes is seen soon, and looking costs next to nothing.
let usualInterval = TimeSpan.FromSeconds 2.0

// Nothing from elsewhere, nothing inline, nobody's frame; and nothing is kept by browsers.
let private secureFields = [|
    struct ("Content-Security-Policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
    struct ("X-Content-Type-Options", "nosniff")
    struct ("X-Frame-Options", "DENY")
    struct ("Referrer-Policy", "no-referrer")
    struct ("Cross-Origin-Opener-Policy", "same-origin")
    struct ("Cross-Origin-Resource-Policy", "same-origin")
    struct ("Cache-Control", "no-store")
|]

// One handler and not a list of them reduced to one: of functions of handlers, native code lacks what folds lists.
let private securely: HttpHandler =
    fun next ctx ->
        for struct (name, value) in secureFields do
            ctx.Response.Headers[name] <- value

        next ctx

/// Who may ask for what listens on loopback: a page from elsewhere whose name was made to mean this address would have its
/// own name in the Host field (DNS rebinding).
let isLocalHost (host: string) : bool =
    let name = (HostName.significant (host.AsSpan())).ToString()

    name.Equals("localhost", StringComparison.OrdinalIgnoreCase)
    || fst (IPAddress.TryParse(name.Trim('[', ']')))

let private onlyLocal (address: ListenAddress) : HttpHandler =
    let isGuarded =
        match address.Host with
        | ListenHost.Any -> false
        | ListenHost.Localhost -> true
        | ListenHost.Address ip -> IPAddress.IsLoopback ip

    let refusal =
        (setStatusCode StatusCodes.Status421MisdirectedRequest
         >=> text $"Open this page as http://localhost:{address.Port}.\n")
            earlyReturn

    fun next ctx ->
        if isGuarded && not (isLocalHost (string ctx.Request.Host.Value)) then
            refusal ctx
        else
            next ctx

let private queryOf (usual: RouteOrder) (ctx: HttpContext) : StatusQuery =
    StatusQuery.ofFields usual (QueryField.tryFind ctx)

// Made again for each request.
let private answering (contentType: string) (body: HttpContext -> byte[]) : HttpHandler =
    fun next ctx -> (setHttpHeader "Content-Type" contentType >=> setBody (body ctx)) next ctx

let private json (body: HttpContext -> byte[]) : HttpHandler =
    answering "application/json; charset=utf-8" body

let private page (snapshot: StatusSnapshot) (feed: StatusFeed) : HttpHandler =
    answering "text/html; charset=utf-8" (fun ctx ->
        let summary, overview = snapshot.Summary(), snapshot.Overview()
        let shown = snapshot.Select(overview, queryOf RoutesView.usualOrder ctx)

        StatusView.page
            snapshot.LastFailure
            summary
            overview
            shown
            (feed.Rows shown.Shown)
            (snapshot.Failures())
        |> Encoding.UTF8.GetBytes)

// The RequestClone of a path `…/NAMESPACE/NAME`, and what follows that.
let private keyOf (path: string) (prefix: string) : (ObjectKey * string) option =
    if path.StartsWith(prefix, StringComparison.Ordinal) then
        match path.Substring(prefix.Length).Split '/' with
        | [| ns; name |] when ns <> "" && name <> "" -> Some(ObjectKey.create ns name, "")
        | [| ns; name; rest |] when ns <> "" && name <> "" -> Some(ObjectKey.create ns name, rest)
        | _ -> None
    else
        None

// Of a path under `prefix` that ends with `rest` after the RequestClone.
let private routeOf (prefix: string) (rest: string) (handle: ObjectKey -> HttpHandler) : HttpHandler =
    fun next ctx ->
        match keyOf (string ctx.Request.Path.Value) prefix with
        | Some(key, ending) when ending = rest -> handle key next ctx
        | _ -> skipPipeline

let private routePage (snapshot: StatusSnapshot) (key: ObjectKey) : HttpHandler =
    let html (status: int) (page: string) =
        setStatusCode status
        >=> setHttpHeader "Content-Type" "text/html; charset=utf-8"
        >=> setBody (Encoding.UTF8.GetBytes page)

    match snapshot.TryFind key with
    | ValueSome status ->
        html
            StatusCodes.Status200OK
            (RouteView.page (snapshot.Summary()) status (snapshot.LastFailure key) (snapshot.Recent key))
    | ValueNone -> html StatusCodes.Status404NotFound (RouteView.missing (snapshot.Summary()) key)

let private routeJson (snapshot: StatusSnapshot) (key: ObjectKey) : HttpHandler =
    match snapshot.TryFind key with
    | ValueSome status -> json (fun _ -> StatusJson.ofRoute status (snapshot.Recent key))
    | ValueNone ->
        setStatusCode StatusCodes.Status404NotFound
        >=> json (fun _ -> StatusJson.ofError $"there is no RequestClone {key}")

let private tooMany: HttpHandler =
    setStatusCode StatusCodes.Status503ServiceUnavailable
    >=> text "Too many status pages are open.\n"

// Until the browser goes, or the program. A slow reader is sent less often: nothing is queued for it. `subscribe` gives what
// brings one browser up to date each time.
let private events
    (feed: StatusFeed)
    (clock: TimeProvider)
    (stop: CancellationToken)
    (subscribe: HttpContext -> unit -> string)
    : HttpHandler =
    let refusal = tooMany earlyReturn

    fun _ ctx -> task {
        match feed.TryEnter() with
        | ValueNone -> return! refusal ctx
        | ValueSome place ->
            use ended =
                CancellationTokenSource.CreateLinkedTokenSource(stop, ctx.RequestAborted, place.Ended)

            use timer = new PeriodicTimer(feed.Interval, clock)
            ctx.Response.ContentType <- "text/event-stream"
            let next = subscribe ctx

            try
                try
                    let mutable isOpen = true

                    while isOpen do
                        let news = next ()
                        // A comment, where there is nothing: whether the other side is there still is found out by writing.
                        let text = if news = "" then ":\n\n" else news
                        do! ctx.Response.Body.WriteAsync(Encoding.UTF8.GetBytes text, ended.Token)
                        do! ctx.Response.Body.FlushAsync ended.Token
                        let! isNext = timer.WaitForNextTickAsync ended.Token
                        isOpen <- isNext
                with
                | :? OperationCanceledException
                | :? IOException -> ()
            finally
                feed.Leave place

            return Some ctx
    }

// What changes something has its own methods.
let private readOnly: HttpHandler =
    let refusal =
        (setStatusCode StatusCodes.Status405MethodNotAllowed
         >=> setHttpHeader "Allow" "GET, HEAD"
         >=> text "Only GET and HEAD are answered here.\n")
            earlyReturn

    fun next ctx ->
        if HttpMethods.IsGet ctx.Request.Method || HttpMethods.IsHead ctx.Request.Method then
            next ctx
        else
            refusal ctx

/// `/`, what belongs to it, and `/api/…`. `address` is where it is served; `stop` ends the events, which would go on for
/// ever else.
let handler
    (sources: StatusSources)
    (address: ListenAddress)
    (interval: TimeSpan)
    (stop: CancellationToken)
    : HttpHandler =
    let snapshot = StatusSnapshot sources
    let feed = StatusFeed(snapshot, sources.Clock, interval)

    let live = events feed sources.Clock stop

    let subscribe (ctx: HttpContext) =
        StatusSubscription(snapshot, feed, queryOf RoutesView.usualOrder ctx).Next

    let subscribeTo (key: ObjectKey) (_: HttpContext) = RouteSubscription(snapshot, key).Next

    let reading = [
        route "/" >=> page snapshot feed
        route "/style.css" >=> StaticFile.css "style.css"
        route "/status.css" >=> StaticFile.css "status.css"
        route "/script.js" >=> StaticFile.script "status.js"
        route "/events" >=> live subscribe
        routeOf "/routes/" "" (routePage snapshot)
        routeOf "/routes/" "events" (subscribeTo >> live)
        route "/api/status"
        >=> json (fun _ -> StatusJson.ofSummary (snapshot.Summary()) (snapshot.Overview()))
        route "/api/routes"
        >=> json (fun ctx ->
            StatusJson.ofPage (snapshot.Select(snapshot.Overview(), queryOf RouteOrder.Host ctx)))
        routeOf "/api/routes/" "" (routeJson snapshot)
        route "/api/failures"
        >=> json (fun _ -> StatusJson.ofFailures (snapshot.Failures()))
        route "/api/unknown-hosts"
        >=> json (fun _ -> StatusJson.ofUnknownHosts (sources.UnknownHosts()))
        route "/api/tap" >=> TapFeed.handler sources.Tap stop
        DeadLetterPage.handler sources.DeadLetters sources.Clock sources.Instance
        DeadLetterApi.reading sources.DeadLetters sources.Clock
    ]

    securely
    >=> onlyLocal address
    >=> choose [
        DeadLetterApi.changing sources.DeadLetters sources.Clock
        readOnly >=> choose reading
    ]
