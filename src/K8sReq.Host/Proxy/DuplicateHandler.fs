/// The proxy: finds the targets of a request, captures it, sends the copies on their way and answers 202.
module K8sReq.Host.Proxy.DuplicateHandler

open System
open Microsoft.AspNetCore.Http
open K8sReq.Core
open K8sReq.Host.Http

/// What the proxy does its work with.
type DuplicateServices = {
    /// The lanes of a host, by the table in force.
    FindLanes: string -> Lane[]
    Delivery: DeliveryServices
    Report: CopyReport
    Ledger: CopyLedger
    Clock: TimeProvider
    Budget: BufferBudget
    /// What a client may take for its body.
    ReadTimeout: TimeSpan
    /// Bytes; None for no limit.
    BodySizeLimit: int64 option
    /// The name that Via fields know this proxy by.
    ViaName: string
}

let private refuse status reason : HttpHandler =
    setStatusCode status >=> text (reason + "\n")

// What is left of the request is not worth reading, or cannot be: the connection ends with the answer.
let private refuseAndClose status reason : HttpHandler =
    setHttpHeader "Connection" "close" >=> refuse status reason

let private noTargets =
    refuse StatusCodes.Status503ServiceUnavailable "No target is configured for this host."

let private busy: HttpHandler =
    // What is waited for is a send or two, a fraction of a second; a second is the least that the field can say.
    setHttpHeader "Retry-After" "1"
    >=> refuse StatusCodes.Status503ServiceUnavailable "Too many requests are waiting to be copied."

let private loop =
    refuse StatusCodes.Status508LoopDetected "This request has passed this proxy before."

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
    | CaptureError.BudgetSpent -> setHttpHeader "Connection" "close" >=> busy
    | CaptureError.ClientGone ->
        // Nobody reads the answer; aborting makes sure of that.
        fun _ ctx ->
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

/// Goes on if the request's host has a target. 503 if there is none.
let requireTarget (findLanes: string -> Lane[]) : HttpHandler =
    let noTargets = noTargets earlyReturn

    fun next ctx ->
        if (findLanes (RequestCapture.hostOf ctx)).Length = 0 then
            noTargets ctx
        else
            next ctx

/// Goes on with the head's lines that copies carry. 508 if the request has passed this proxy before.
let withCarriedHeaders (viaName: string) (handler: HeaderLine[] -> HttpHandler) : HttpHandler =
    let refusal = loop earlyReturn

    fun next ctx ->
        let lines = RequestCapture.headerLines ctx.Request.Headers

        if ForwardHeaders.hasPassed viaName lines then
            refusal ctx
        else
            handler (ForwardHeaders.carried viaName lines) next ctx

/// Goes on with the whole request once it has been received whole; else answers why not. Whoever gets it releases it.
let withCapture
    (services: DuplicateServices)
    (lines: HeaderLine[])
    (handler: Captured -> HttpHandler)
    : HttpHandler =
    fun next ctx -> task {
        match!
            RequestCapture.capture
                services.Clock
                services.ReadTimeout
                services.Budget
                services.BodySizeLimit
                lines
                ctx
        with
        | Ok captured -> return! handler captured next ctx
        | Error error -> return! captureFailed error next ctx
    }

/// The places that a copy has found, and the lanes that had none.
type private Admitted = { Places: Place list; Full: Lane list }

// Offers the copy to every lane of the host. A lane that is met retired means that the table has changed just now:
// the lanes that are there instead are offered it too.
let rec private enter
    (findLanes: unit -> Lane[])
    (bytes: int64)
    (tried: Lane list)
    (admitted: Admitted)
    : Admitted =
    let untried =
        findLanes () |> Array.filter (fun lane -> not (List.contains lane tried))

    let offer (admitted, hasMetRetired) (lane: Lane) =
        match lane.TryEnter bytes with
        | LaneEntry.Entered turn ->
            {
                admitted with
                    Places = struct (lane, turn) :: admitted.Places
            },
            hasMetRetired
        | LaneEntry.Full ->
            {
                admitted with
                    Full = lane :: admitted.Full
            },
            hasMetRetired
        | LaneEntry.Retired -> admitted, true

    match untried |> Array.fold offer (admitted, false) with
    | now, true -> enter findLanes bytes (List.ofArray untried @ tried) now
    | now, false -> now

/// Offers a copy to every target that the host has now, sends those that found room on their way, and goes on at once.
/// Nothing here waits for a target. 503 if no lane has room; the memory is given back then.
let sendCopies (services: DuplicateServices) (captured: Captured) : HttpHandler =
    fun next ctx ->
        let report target outcome =
            services.Report target outcome
            // Last: whoever waits for the last copy finds all of them reported.
            services.Ledger.End outcome

        // The table may have changed since the head came: a body takes its time.
        let findLanes () =
            services.FindLanes captured.Request.Host

        let admitted = enter findLanes captured.Buffer.Weight [] { Places = []; Full = [] }

        match admitted with
        | { Places = []; Full = [] } ->
            captured.Buffer.Release()
            noTargets next ctx
        | { Places = [] } ->
            captured.Buffer.Release()
            busy next ctx
        | { Places = places; Full = full } ->
            services.Ledger.Accept(places.Length + full.Length)

            for lane in full do
                report lane.Target TargetOutcome.Overflowed

            let deliver = Delivery.run services.Delivery captured.Request captured.Buffer.Weight

            FanOut.run deliver report captured.Buffer.Release (List.toArray places)
            |> Async.Start

            next ctx

/// The proxy's whole pipeline.
let create (services: DuplicateServices) : HttpHandler =
    refuseMalformed
    >=> refuseTunnels
    >=> refuseUnclearFraming
    >=> requireTarget services.FindLanes
    >=> withCarriedHeaders services.ViaName (fun lines ->
        withCapture services lines (fun captured -> sendCopies services captured >=> accepted))
