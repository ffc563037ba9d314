/// What is told of requests: a span of each that is traced, every answer, and exceptions that no handler expects.
module K8sReq.Proxy.Observed

open System
open System.IO
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// Begins the span of every request, which ends with the answer.
let traced (services: DuplicateServices) (handler: HttpHandler) : HttpHandler =
    fun next ->
        let pipeline = handler next

        fun ctx ->
            if not services.Tracing.IsOn then
                pipeline ctx
            else
                let request = IngressRequest.Of ctx
                let head = request.Head

                match services.Tracing.Start(head.Method, (fun name -> RequestHead.valueOf name head)) with
                | ValueNone -> pipeline ctx
                | ValueSome trace when not trace.IsRecorded ->
                    request.Trace <- trace
                    pipeline ctx
                | ValueSome trace -> task {
                    request.Trace <- trace
                    trace.Describe(head.Method, head.Target, head.Host, ctx.Request.Protocol)
                    // What the server answers when the pipeline throws.
                    let mutable status = StatusCodes.Status500InternalServerError

                    try
                        let! taken = pipeline ctx
                        status <- ctx.Response.StatusCode
                        return taken
                    finally
                        trace.End status
                  }

// The word of the refusal, which is logged.
let private tellRefused
    (services: DuplicateServices)
    (status: int)
    (request: IngressRequest | null)
    : string =
    let host, refused =
        match request with
        | null -> "", ValueNone
        | request -> request.Head.Host, request.Refused

    match refused with
    | ValueNone ->
        services.Refusals.Tell(status, "", host)
        Refusal.wordOfStatus status
    | ValueSome refusal ->
        if services.Refusals.IsOn then
            services.Refusals.Tell(status, Refusal.reason refusal, host)

        if refusal.IsNoTarget then
            services.UnknownHosts.Met host

        Refusal.word refusal

let private tapRefused
    (services: DuplicateServices)
    (request: IngressRequest | null)
    (method: string)
    (status: int)
    (word: string)
    : unit =
    let host, target =
        match request with
        | null -> "", ""
        | request -> request.Head.Host, request.Head.Target

    TapEvent.Request {
        At = services.Clock.GetUtcNow()
        Id = Guid.Empty
        Method = method
        Host = host
        Target = target
        Status = status
        Reason = word
        Copies = 0
    }
    |> services.Tap.Tell

/// Tells of an answer: to the metrics, and where the request was refused to the log and to those who watch. `request` is null
/// where its head was not read. `began` is when its head came.
let answered
    (services: DuplicateServices)
    (request: IngressRequest | null)
    (method: string)
    (protocol: string)
    (status: int)
    (began: int64)
    : unit =
    let word =
        if status < StatusCodes.Status400BadRequest then
            ""
        else
            tellRefused services status request

    if word <> "" && services.Tap.IsOn then
        tapRefused services request method status word

    services.Answered {
        Method = method
        Protocol = protocol
        Status = status
        Reason = word
        Duration = services.Clock.GetElapsedTime began
    }

/// Tells of every answer, and gives one where no handler does: an exception ends here.
let observed (services: DuplicateServices) (handler: HttpHandler) : HttpHandler =
    fun next ->
        let pipeline = handler next

        let finish (ctx: HttpContext) (began: int64) =
            let request = IngressRequest.TryOf ctx
            answered services request ctx.Request.Method ctx.Request.Protocol ctx.Response.StatusCode began
            IngressRequest.Forget ctx

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
                    Refusals.closeConnection ctx

        fun ctx ->
            let began = services.Clock.GetTimestamp()

            if services.IsDraining() then
                Refusals.closeConnection ctx

            let answered =
                try
                    pipeline ctx
                with error ->
                    Task.FromException<HttpContext option> error

            if answered.IsCompletedSuccessfully then
                finish ctx began
                answered
            else
                task {
                    try
                        let! _ = answered
                        ()
                    with error ->
                        fail ctx error

                    finish ctx began
                    return Some ctx
                }
