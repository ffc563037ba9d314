/// The proxy: finds the targets of a request, captures it, sends the copies on their way and answers 202.
module K8sReq.Proxy.DuplicateHandler

open System
open System.Collections.Generic
open System.IO
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// What the proxy does its work with.
type DuplicateServices = {
    /// Waits for the routes to be known: true once they are, false if the request must not wait any longer.
    RoutesKnown: unit -> ValueTask<bool>
    /// The lanes of a host, by the table in force.
    FindLanes: string -> Lane[]
    Delivery: DeliveryServices
    Report: CopyReport
    /// Told of every answer: the request's method and protocol, the status, and the time since the request's head came.
    Answered: string -> string -> int -> TimeSpan -> unit
    Refusals: RefusalLog
    /// Told of exceptions that no handler expects: their requests are answered 500.
    Failed: exn -> unit
    /// From the first moment of the drain on every answer ends its connection: the next request is to go elsewhere.
    IsDraining: unit -> bool
    Ledger: CopyLedger
    Clock: TimeProvider
    Tracing: Tracing
    Budget: BufferBudget
    /// What a client may take for its body.
    ReadTimeout: TimeSpan
    /// Bytes; None for no limit.
    BodySizeLimit: int64 option
    /// The name that Via fields know this proxy by.
    ViaName: string
}

/// Why a request was refused, for the log. A feature of its context.
[<Sealed>]
type private RefusalReason(text: string) =
    member _.Text = text

// HTTP/2 has no such field (RFC 9113 section 8.2.2).
let private endConnection (ctx: HttpContext) =
    if not (HttpProtocol.IsHttp2 ctx.Request.Protocol) then
        ctx.Response.Headers.Connection <- "close"

// `reason` is for the log, where nothing stands that clients send; `answer` is the text of the answer.
let private refuseWith status (reason: string) (answer: string) : HttpHandler =
    let answer = setStatusCode status >=> text (answer + "\n")
    let reason = RefusalReason reason

    fun next ->
        let answer = answer next

        fun ctx ->
            ctx.Features.Set reason
            answer ctx

let private refuse status (reason: string) : HttpHandler = refuseWith status reason reason

// What is left of the request is not worth reading, or cannot be: the connection ends with the answer.
let private refuseAndClose status reason : HttpHandler =
    let refusal = refuse status reason

    fun next ->
        let refusal = refusal next

        fun ctx ->
            endConnection ctx
            refusal ctx

// Of a body that is not wanted: what is read of it before the answer, and how long that may take. More is not worth it, a
// new connection costs less.
let private unwantedBytes = 65_536L
let private unwantedTime = TimeSpan.FromSeconds 1.0

// The refusal of a request whose body has not been read. What comes after the answer on the connection must be the next
// request, for the client as for the server: the body is read, or the connection ends.
let private unread (clock: TimeProvider) (refusal: HttpHandler) : HttpHandler =
    fun next ->
        let refusal = refusal next

        let give isRead ctx =
            if not isRead then
                endConnection ctx

            refusal ctx

        fun ctx ->
            let skipped = RequestCapture.skipBody clock unwantedTime unwantedBytes ctx

            if skipped.IsCompletedSuccessfully then
                give skipped.Result ctx
            else
                task {
                    let! isRead = skipped
                    return! give isRead ctx
                }

let private noTargets =
    refuse StatusCodes.Status503ServiceUnavailable "No target is configured for this host."

// Its body is not read: the connection ends with the answer.
let private routesUnknown =
    setHttpHeader "Retry-After" "1"
    >=> refuseAndClose StatusCodes.Status503ServiceUnavailable "The routes are not known yet."

let private busy: HttpHandler =
    // What is waited for is a send or two, a fraction of a second; a second is the least that the field can say.
    setHttpHeader "Retry-After" "1"
    >=> refuse StatusCodes.Status503ServiceUnavailable "Too many requests are waiting to be copied."

let private loop (entry: string) =
    refuseWith
        StatusCodes.Status508LoopDetected
        "Its Via field names this proxy (VIA_NAME)."
        $"This request has passed this proxy before: its Via field names \"{entry}\". Two proxies in a chain need different names (VIA_NAME)."

let private controlInField =
    refuseAndClose StatusCodes.Status400BadRequest "A field's value has a control character."

let private tunnel =
    refuseAndClose StatusCodes.Status501NotImplemented "CONNECT is not copied."

let private malformed =
    refuseAndClose
        StatusCodes.Status400BadRequest
        "The request has a method, target, host or field name that is none."

let private unknownCoding =
    refuseAndClose StatusCodes.Status501NotImplemented "Of transfer codings, chunked alone is understood."

let private badFraming =
    refuseAndClose
        StatusCodes.Status400BadRequest
        "A request has Content-Length or Transfer-Encoding, not both, and not the latter in HTTP/1.0."

let private accepted: HttpHandler = setStatusCode StatusCodes.Status202Accepted

let private captureFailed (error: CaptureError) : HttpHandler =
    match error with
    | CaptureError.TooLarge limit ->
        refuseAndClose StatusCodes.Status413PayloadTooLarge $"The body is larger than {limit} bytes."
    | CaptureError.TooSlow limit ->
        refuseAndClose
            StatusCodes.Status408RequestTimeout
            $"The body took longer than {GoDuration.render limit}."
    | CaptureError.Malformed(status, reason) -> refuseAndClose status reason
    | CaptureError.BudgetSpent ->
        fun next ctx ->
            endConnection ctx
            busy next ctx
    | CaptureError.ClientGone ->
        // Nobody reads the answer; aborting makes sure of that.
        fun _ ctx ->
            // What logs and metrics say of it; nobody is told.
            ctx.Response.StatusCode <- StatusCodes.Status499ClientClosedRequest
            ctx.Features.Set(RefusalReason "the client went away before its request was complete")
            ctx.Abort()
            earlyReturn ctx

/// Refuses requests for a tunnel: what would come through it cannot be copied.
let refuseTunnels: HttpHandler =
    let refusal = tunnel earlyReturn

    fun next ctx ->
        if HttpMethods.IsConnect ctx.Request.Method then
            refusal ctx
        else
            next ctx

/// Refuses what is no HTTP. HTTP/1.1 gets no further than the server with most of it; over HTTP/2 the server passes
/// on fields and targets that, written into an HTTP/1.1 head, mean something else or break it.
let refuseMalformed: HttpHandler =
    let refusal = malformed earlyReturn

    fun next ctx ->
        let isWellFormed =
            MessageSyntax.isToken ctx.Request.Method
            && MessageSyntax.isTarget (RequestCapture.rawTarget ctx)
            && MessageSyntax.isHost (RequestCapture.hostOf ctx)
            && ctx.Request.Headers.Keys |> Seq.forall MessageSyntax.isFieldName

        if isWellFormed then next ctx else refusal ctx

/// Refuses framings by which a copy could mean something else than the request. Two fields that declare the end (RFC
/// 9112 section 6.3): where they differ, whoever reads the other one is made to see requests that nobody sent; Kestrel
/// goes by Transfer-Encoding and renames the other field. And transfer codings beside chunked: the copy is sent
/// without the field that tells how to undo them.
let refuseUnclearFraming: HttpHandler =
    let twoFramings = badFraming earlyReturn
    let unknownCoding = unknownCoding earlyReturn

    fun next ctx ->
        let headers = ctx.Request.Headers

        if headers.TransferEncoding.Count = 0 then
            next ctx
        // HTTP/1.0 does not know the field: whoever sends it there frames the message otherwise (RFC 9112 section 6.1).
        elif
            headers.ContainsKey "X-Content-Length"
            || HttpProtocol.IsHttp10 ctx.Request.Protocol
        then
            twoFramings ctx
        elif
            not (
                (string headers.TransferEncoding).Trim().Equals("chunked", StringComparison.OrdinalIgnoreCase)
            )
        then
            unknownCoding ctx
        else
            next ctx

/// Goes on once the routes are known: without them, no route being there means nothing. 503 if the request must not wait
/// any longer.
let requireRoutes (routesKnown: unit -> ValueTask<bool>) : HttpHandler =
    let refusal = routesUnknown earlyReturn

    fun next ctx ->
        let known = routesKnown ()

        if not known.IsCompletedSuccessfully then
            task {
                let! isKnown = known
                return! if isKnown then next ctx else refusal ctx
            }
        elif known.Result then
            next ctx
        else
            refusal ctx

/// Goes on if the request's host has a target. 503 if there is none.
let requireTarget (clock: TimeProvider) (findLanes: string -> Lane[]) : HttpHandler =
    let noTargets = unread clock noTargets earlyReturn

    fun next ctx ->
        if (findLanes (RequestCapture.hostOf ctx)).Length = 0 then
            noTargets ctx
        else
            next ctx

// The request's place in a trace, where it has one.
let private traceOf (tracing: Tracing) (ctx: HttpContext) : RequestTrace voption =
    if not tracing.IsOn then
        ValueNone
    else
        match ctx.Features.Get<RequestTrace>() with
        | null -> ValueNone
        | trace -> ValueSome trace

let private hasGoodValue (struct (_, value): HeaderLine) = MessageSyntax.isFieldValue value

/// Goes on with the head's lines that copies carry. 400 if the value of one is none. 508 if the request has passed this proxy before.
let withCarriedHeaders
    (clock: TimeProvider)
    (tracing: Tracing)
    (viaName: string)
    (handler: HeaderLine[] -> HttpHandler)
    : HttpHandler =
    fun next ctx ->
        let lines = RequestCapture.headerLines ctx.Request.Headers

        match ForwardHeaders.tryFindOwnVia viaName lines with
        | ValueSome entry -> unread clock (loop entry) earlyReturn ctx
        | ValueNone when not (lines |> Array.forall hasGoodValue) -> controlInField earlyReturn ctx
        | ValueNone ->
            let carried = ForwardHeaders.carried viaName lines

            match traceOf tracing ctx with
            | ValueSome trace -> handler (trace.Carried carried) next ctx
            | ValueNone -> handler carried next ctx

// What this request may take of the memory for all.
let private allowanceOf (services: DuplicateServices) (ctx: HttpContext) : Allowance =
    let lanes = services.FindLanes(RequestCapture.hostOf ctx)
    let host = if lanes.Length = 0 then null else lanes[0].Share
    Allowance(services.Budget, host, ctx.Features.Get<BudgetShare>())

/// Goes on with the whole request once it has been received whole; else answers why not. Whoever gets it releases it.
let withCapture
    (services: DuplicateServices)
    (lines: HeaderLine[])
    (handler: Captured -> HttpHandler)
    : HttpHandler =
    fun next ctx -> task {
        let allowance = allowanceOf services ctx
        let headWeight = RequestCapture.headWeight lines

        // As long as its body is waited for, the server holds the head.
        if not (allowance.TryTake headWeight) then
            return! captureFailed CaptureError.BudgetSpent next ctx
        else
            try
                match!
                    RequestCapture.capture
                        services.Clock
                        services.ReadTimeout
                        allowance
                        services.BodySizeLimit
                        lines
                        ctx
                with
                | Ok captured -> return! handler captured next ctx
                | Error error -> return! captureFailed error next ctx
            finally
                allowance.Return headWeight
    }

// Offers the copy to every lane of the host: the places that it has found are added, the lanes that had none are given.
// A lane that is met retired means that the table has changed just now: the lanes that are there instead are offered it
// too, but for those of RequestClones that have been offered it already, by a lane to another address.
let rec private enter
    (findLanes: string -> Lane[])
    (host: string)
    (bytes: int64)
    (places: ResizeArray<Place>)
    (offered: HashSet<ObjectKey> voption)
    (full: Lane list)
    : Lane list =
    let lanes = findLanes host
    let mutable full = full
    let mutable hasMetRetired = false

    for lane in lanes do
        if offered.IsNone || not (offered.Value.Contains lane.Target.Clone) then
            match lane.TryEnter bytes with
            | LaneEntry.Entered turn -> places.Add(struct (lane, turn))
            | LaneEntry.Full -> full <- lane :: full
            | LaneEntry.Retired -> hasMetRetired <- true

    if hasMetRetired then
        let offered = HashSet<ObjectKey>()

        for struct (lane, _) in places do
            offered.Add lane.Target.Clone |> ignore

        for lane in full do
            offered.Add lane.Target.Clone |> ignore

        enter findLanes host bytes places (ValueSome offered) full
    else
        full

/// Offers a copy to every target that the host has now, sends those that found room on their way, and goes on at once.
/// Nothing here waits for a target. 503 if no lane has room; the memory is given back then.
let sendCopies (services: DuplicateServices) : Captured -> HttpHandler =
    let report: CopyReport =
        fun job lane (struct (outcome, _) as ended) duration ->
            try
                lane.Statistics.End(outcome, duration)
                services.Report job lane ended duration
            finally
                // Last: whoever waits for the last copy finds all of them reported.
                services.Ledger.End outcome

    fun captured next ctx ->
        let request, buffer = captured.Request, captured.Buffer
        let bytes = buffer.Weight
        let places = ResizeArray<Place>(2)
        // The table may have changed since the head came: a body takes its time.
        let full = enter services.FindLanes request.Host bytes places ValueNone []

        if places.Count > 0 then
            let job = {
                Request = request
                Bytes = bytes
                AcceptedAt = services.Clock.GetTimestamp()
                Trace = traceOf services.Tracing ctx
            }

            // From here to the start of the copies nothing may throw: they would never end.
            services.Ledger.Accept(places.Count + full.Length)

            for struct (lane, _) in places do
                lane.Statistics.Accept()

            for lane in full do
                lane.Statistics.Accept()

                try
                    report job lane (struct (TargetOutcome.Overflowed, 0)) TimeSpan.Zero
                with error ->
                    services.Failed error

            FanOut.start services.Delivery report buffer.Release job places
            next ctx
        else
            buffer.Release()
            if full.IsEmpty then noTargets next ctx else busy next ctx

// Begins the span of every request, which ends with the answer.
let private traced (services: DuplicateServices) (handler: HttpHandler) : HttpHandler =
    fun next ->
        let pipeline = handler next

        fun ctx ->
            if not services.Tracing.IsOn then
                pipeline ctx
            else
                let find = RequestCapture.fieldOf ctx.Request.Headers

                match services.Tracing.Start(ctx.Request.Method, find) with
                | ValueNone -> pipeline ctx
                | ValueSome trace when not trace.IsRecorded ->
                    ctx.Features.Set trace
                    pipeline ctx
                | ValueSome trace -> task {
                    ctx.Features.Set trace

                    trace.Describe(
                        ctx.Request.Method,
                        RequestCapture.rawTarget ctx,
                        RequestCapture.hostOf ctx,
                        ctx.Request.Protocol
                    )

                    // What the server answers when the pipeline throws.
                    let mutable status = StatusCodes.Status500InternalServerError

                    try
                        let! taken = pipeline ctx
                        status <- ctx.Response.StatusCode
                        return taken
                    finally
                        trace.End status
                  }

// Tells of every answer, and gives one where no handler does: an exception ends here.
let private observed (services: DuplicateServices) (handler: HttpHandler) : HttpHandler =
    fun next ->
        let pipeline = handler next

        let tell (ctx: HttpContext) (began: int64) =
            let status = ctx.Response.StatusCode

            services.Answered
                ctx.Request.Method
                ctx.Request.Protocol
                status
                (services.Clock.GetElapsedTime began)

            if status >= 400 && services.Refusals.IsOn then
                let reason =
                    match ctx.Features.Get<RefusalReason>() with
                    | null -> ""
                    | reason -> reason.Text

                services.Refusals.Tell(status, reason, RequestCapture.hostOf ctx)

        // The client may have gone while it was answered; all else is a defect.
        let fail (ctx: HttpContext) (error: exn) =
            match error with
            | :? OperationCanceledException
            | :? IOException ->
                if not ctx.Response.HasStarted then
                    ctx.Response.StatusCode <- StatusCodes.Status499ClientClosedRequest
            | error ->
                services.Failed error

                if not ctx.Response.HasStarted then
                    ctx.Response.Clear()
                    ctx.Response.StatusCode <- StatusCodes.Status500InternalServerError
                    endConnection ctx

        fun ctx ->
            let began = services.Clock.GetTimestamp()

            if services.IsDraining() then
                endConnection ctx

            let answered =
                try
                    pipeline ctx
                with error ->
                    Task.FromException<HttpContext option> error

            if answered.IsCompletedSuccessfully then
                tell ctx began
                answered
            else
                task {
                    try
                        let! _ = answered
                        ()
                    with error ->
                        fail ctx error

                    tell ctx began
                    return Some ctx
                }

/// The proxy's whole pipeline.
let create (services: DuplicateServices) : HttpHandler =
    let sendCopies = sendCopies services

    refuseMalformed
    >=> refuseTunnels
    >=> refuseUnclearFraming
    >=> requireRoutes services.RoutesKnown
    >=> requireTarget services.Clock services.FindLanes
    >=> withCarriedHeaders services.Clock services.Tracing services.ViaName (fun lines ->
        withCapture services lines (fun captured -> sendCopies captured >=> accepted))
    |> traced services
    |> observed services
