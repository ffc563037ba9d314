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

/// Tells of every answer, and gives one where no handler does: an exception ends here.
let observed (services: DuplicateServices) (handler: HttpHandler) : HttpHandler =
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
                match IngressRequest.TryOf ctx with
                | null -> services.Refusals.Tell(status, "", "")
                | request ->
                    let reason =
                        match request.Refused with
                        | ValueSome refusal -> Refusal.reason refusal
                        | ValueNone -> ""

                    services.Refusals.Tell(status, reason, request.Head.Host)

        let finish (ctx: HttpContext) (began: int64) =
            tell ctx began
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
