namespace K8sReq.Proxy

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// What the proxy does its work with.
type DuplicateServices = {
    /// Waits for the routes to be known: true once they are, false if the request must not wait any longer.
    RoutesKnown: unit -> ValueTask<bool>
    /// The snapshot in force.
    Hosts: unit -> HostMap<HostEntry>
    Delivery: DeliveryServices
    /// Told of every answer: the request's method and protocol, the status, and the time since the request's head came.
    Answered: string -> string -> int -> TimeSpan -> unit
    Refusals: RefusalLog
    /// Told of exceptions that no handler expects: their requests are answered 500.
    Failed: exn -> unit
    /// From the first moment of the drain on every answer ends its connection: the next request is to go elsewhere.
    IsDraining: unit -> bool
    Accounts: CopyAccounts
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

    static member Of(ctx: HttpContext) : IngressRequest =
        match IngressRequest.TryOf ctx with
        | null -> invalidOp "The head of the request has not been parsed."
        | request -> request
