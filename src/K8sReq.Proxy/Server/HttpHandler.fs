namespace K8sReq.Proxy

open System.Text
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

/// Some if the request has been dealt with, None if this handler is not the one for it.
type HttpFuncResult = Task<HttpContext option>

/// What is still to be done for a request.
type HttpFunc = HttpContext -> HttpFuncResult

/// A step of the pipeline: given what comes next, what to do. The types and the meaning of the names below are
/// those of Giraffe, so that handlers of both compose; its package replaces this file where it can be had.
type HttpHandler = HttpFunc -> HttpFunc

[<AutoOpen>]
module HttpHandlers =
    /// Leaves this branch: another handler may take the request.
    let skipPipeline: HttpFuncResult = Task.FromResult None

    /// Ends the pipeline successfully. The last function of every pipeline.
    let earlyReturn: HttpFunc = fun ctx -> Task.FromResult(Some ctx)

    /// `first`, then `second`. The right side is applied to the final function once, outside the request; once the
    /// response has started, the final function is all that is called.
    let compose (first: HttpHandler) (second: HttpHandler) : HttpHandler =
        fun final ->
            let both = first (second final)
            fun ctx -> if ctx.Response.HasStarted then final ctx else both ctx

    /// `compose` between its arguments.
    let (>=>) (first: HttpHandler) (second: HttpHandler) : HttpHandler = compose first second

    /// The first of these handlers that takes the request. `next` is applied to all of them once, outside the request.
    let choose (handlers: HttpHandler list) : HttpHandler =
        fun next ->
            let branches = handlers |> List.map (fun handler -> handler next)

            let rec firstOf (remaining: HttpFunc list) (ctx: HttpContext) : HttpFuncResult =
                match remaining with
                | [] -> skipPipeline
                | branch :: others -> task {
                    match! branch ctx with
                    | Some taken -> return Some taken
                    | None -> return! firstOf others ctx
                  }

            firstOf branches

    /// Sets the status and goes on.
    let setStatusCode (status: int) : HttpHandler =
        fun next ctx ->
            ctx.Response.StatusCode <- status
            next ctx

    /// Sets a field of the response and goes on.
    let setHttpHeader (name: string) (value: string) : HttpHandler =
        fun next ctx ->
            ctx.Response.Headers[name] <- value
            next ctx

    /// Writes the body and ends the pipeline. The answer to a HEAD request has the length and no body.
    let setBody (bytes: byte[]) : HttpHandler =
        fun _ ctx -> task {
            ctx.Response.ContentLength <- bytes.Length

            if not (HttpMethods.IsHead ctx.Request.Method) then
                do! ctx.Response.Body.WriteAsync(bytes, 0, bytes.Length)

            return Some ctx
        }

    /// Writes a text (UTF-8) and ends the pipeline.
    let text (body: string) : HttpHandler =
        let bytes = Encoding.UTF8.GetBytes body
        setHttpHeader "Content-Type" "text/plain; charset=utf-8" >=> setBody bytes

    /// Takes the requests for exactly this path.
    let route (path: string) : HttpHandler =
        fun next ctx ->
            if ctx.Request.Path.Value = path then
                next ctx
            else
                skipPipeline

    /// Takes GET and HEAD requests.
    let GET_HEAD: HttpHandler =
        fun next ctx ->
            if HttpMethods.IsGet ctx.Request.Method || HttpMethods.IsHead ctx.Request.Method then
                next ctx
            else
                skipPipeline
