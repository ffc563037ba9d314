namespace K8sReq.Proxy

open Microsoft.AspNetCore.Http
open K8sReq.Core

/// A request on its way through the pipeline, with what the handlers before have found out. A feature of its context.
[<Sealed>]
type IngressRequest(head: RequestHead) =
    /// Parsed once.
    member _.Head = head

    /// The hosts in force when the request's host was looked up, and what was found. Set by the handler that does so.
    member val Hosts = HostMap<HostEntry>.Empty with get, set
    member val Entry: HostEntry | null = null with get, set

    /// Its place in a trace, where it has one.
    member val Trace: RequestTrace | null = null with get, set

    /// Why it was refused, for the log.
    member val Refused: Refusal voption = ValueNone with get, set

    /// The request of this context, once its head has been parsed.
    static member TryOf(ctx: HttpContext) : IngressRequest | null = ctx.Features.Get<IngressRequest>()

    /// To be called once the request is answered. The server keeps the contexts of a connection's former streams for its next
    /// ones, with their features: a hundred heads of each connection would stay in memory, and the routes that they met.
    static member Forget(ctx: HttpContext) : unit =
        ctx.Features.Set(Unchecked.defaultof<IngressRequest>)

    static member Of(ctx: HttpContext) : IngressRequest =
        match IngressRequest.TryOf ctx with
        | null -> invalidOp "The head of the request has not been parsed."
        | request -> request
