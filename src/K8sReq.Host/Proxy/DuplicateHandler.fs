/// The proxy: finds the targets of a request, captures it, sends the copies on their way and answers 202.
module K8sReq.Host.Proxy.DuplicateHandler

open System
open System.Threading
open Microsoft.AspNetCore.Http
open K8sReq.Core
open K8sReq.Host.Http

/// What the proxy does its work with.
type DuplicateServices = {
    /// The targets of a host, from the table in force.
    FindTargets: string -> Target[]
    Client: TargetClient
    Report: CopyReport
    Ledger: CopyLedger
    /// Ends the copies that are under way.
    Stop: CancellationToken
    Clock: TimeProvider
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

let private loop =
    refuse StatusCodes.Status508LoopDetected "This request has passed this proxy before."

let private unsendable =
    refuseAndClose
        StatusCodes.Status501NotImplemented
        "CONNECT, OPTIONS * and methods that are known ones in other letters are not copied."

let private malformed =
    refuseAndClose
        StatusCodes.Status400BadRequest
        "The request has a method, target or field name that is none."

let private badHost =
    refuseAndClose StatusCodes.Status400BadRequest "The host has a port that is none."

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
    | CaptureError.ClientGone ->
        // Nobody reads the answer; aborting makes sure of that.
        fun _ ctx ->
            ctx.Abort()
            earlyReturn ctx

/// Refuses the requests of which no faithful copy can be sent (see `TargetClient.canSend`).
let refuseUnsendable: HttpHandler =
    let refusal = unsendable earlyReturn

    fun next ctx ->
        if TargetClient.canSend ctx.Request.Method (RequestCapture.rawTarget ctx) then
            next ctx
        else
            refusal ctx

/// Refuses what is no HTTP. HTTP/1.1 gets no further than the server with most of it; over HTTP/2 the server passes
/// on fields and targets that, written into an HTTP/1.1 head, mean something else or break it.
let refuseMalformed: HttpHandler =
    let refusal = malformed earlyReturn

    fun next ctx ->
        let isWellFormed =
            MessageSyntax.isToken ctx.Request.Method
            && MessageSyntax.isTarget (RequestCapture.rawTarget ctx)
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

/// Goes on with the targets of the request's host. 503 if there are none.
let withTargets (findTargets: string -> Target[]) (handler: Target[] -> HttpHandler) : HttpHandler =
    let noTargets = noTargets earlyReturn
    let badHost = badHost earlyReturn

    fun next ctx ->
        let host = RequestCapture.hostOf ctx

        match findTargets host with
        | [||] -> noTargets ctx
        // Of such a host SocketsHttpHandler would make a second Host field.
        | _ when not (HostName.hasValidPort host) -> badHost ctx
        | targets -> handler targets next ctx

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
    (handler: CapturedBody -> HttpHandler)
    : HttpHandler =
    fun next ctx -> task {
        match!
            RequestCapture.capture services.Clock services.ReadTimeout services.BodySizeLimit lines ctx
        with
        | Ok captured -> return! handler captured next ctx
        | Error error -> return! captureFailed error next ctx
    }

/// Sends the copies on their way and goes on at once. Nothing here waits for a target.
let sendCopies (services: DuplicateServices) (targets: Target[]) (captured: CapturedBody) : HttpHandler =
    fun next ctx ->
        let report target outcome =
            services.Ledger.End outcome
            services.Report target outcome

        let release () = CapturedBody.release captured
        services.Ledger.Accept targets.Length

        FanOut.run services.Client report release targets captured.Request services.Stop
        |> Async.Start

        next ctx

/// The proxy's whole pipeline.
let create (services: DuplicateServices) : HttpHandler =
    refuseMalformed
    >=> refuseUnsendable
    >=> refuseUnclearFraming
    >=> withTargets services.FindTargets (fun targets ->
        withCarriedHeaders services.ViaName (fun lines ->
            withCapture services lines (fun captured -> sendCopies services targets captured >=> accepted)))
