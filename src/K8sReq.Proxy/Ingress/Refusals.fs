/// Answers requests that are not copied.
module K8sReq.Proxy.Refusals

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// The connection ends with the response. HTTP/2 has no such header (RFC 9113 section 8.2.2).
let closeConnection (ctx: HttpContext) : unit =
    if not (HttpProtocol.IsHttp2 ctx.Request.Protocol) then
        ctx.Response.Headers.Connection <- "close"

// For the log and the metrics.
let private note (refusal: Refusal) (ctx: HttpContext) : unit =
    match IngressRequest.TryOf ctx with
    | null -> ()
    | request -> request.Refused <- ValueSome refusal

    ctx.Response.StatusCode <- Refusal.status refusal

let private answer (refusal: Refusal) (ctx: HttpContext) : HttpFuncResult =
    note refusal ctx

    match Refusal.retryAfter refusal with
    | ValueSome seconds -> ctx.Response.Headers.RetryAfter <- seconds
    | ValueNone -> ()

    text (Refusal.text refusal + "\n") earlyReturn ctx

// Of a body that is not wanted: what is read of it before the answer, and how long that may take. More is not worth it, a
// new connection costs less.
let private unwantedBytes = 65_536L
let private unwantedTime = TimeSpan.FromSeconds 1.0

// What comes after the answer on the connection must be the next request, for the client as for the server: the body is
// read, or the connection ends.
let private answerUnread (clock: TimeProvider) (refusal: Refusal) (ctx: HttpContext) : HttpFuncResult =
    let give isRead =
        if not isRead then
            closeConnection ctx

        answer refusal ctx

    let skipped = RequestCapture.skipBody clock unwantedTime unwantedBytes ctx

    if skipped.IsCompletedSuccessfully then
        give skipped.Result
    else
        task {
            let! isRead = skipped
            return! give isRead
        }

/// Answers a request whose body has not been read, or could not be.
let refuse (clock: TimeProvider) (refusal: Refusal) : HttpFunc =
    let connection = Refusal.connection refusal

    fun ctx ->
        match connection with
        | RefusedConnection.ReadRest -> answerUnread clock refusal ctx
        | RefusedConnection.Close ->
            closeConnection ctx
            answer refusal ctx
        | RefusedConnection.Abort ->
            // Nobody reads an answer; aborting makes sure of that.
            note refusal ctx
            ctx.Abort()
            earlyReturn ctx

/// Answers a request that has been received whole: its connection goes on.
let refuseReceived (refusal: Refusal) : HttpFunc = answer refusal
