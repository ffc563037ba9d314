/// What is found out about a request before its body is read, in this order. Each handler goes on or refuses.
module K8sReq.Proxy.Guards

open System
open System.Threading.Tasks
open K8sReq.Core

/// Parses the head.
let parseHead: HttpHandler =
    fun next ctx ->
        ctx.Features.Set(IngressRequest(RequestCapture.headOf ctx))
        next ctx

/// Refuses what is no HTTP/1.1 or cannot be copied (see `Admission.check`).
let requireValid (clock: TimeProvider) : HttpHandler =
    fun next ctx ->
        match Admission.check (IngressRequest.Of ctx).Head with
        | ValueNone -> next ctx
        | ValueSome refusal -> Refusals.refuse clock refusal ctx

/// Goes on once the routes are known: without them, no route being there means nothing. 503 if the request must not wait
/// any longer.
let requireRoutes (clock: TimeProvider) (routesKnown: unit -> ValueTask<bool>) : HttpHandler =
    let refuse = Refusals.refuse clock Refusal.RoutesUnknown

    fun next ctx ->
        let known = routesKnown ()

        if not known.IsCompletedSuccessfully then
            task {
                let! isKnown = known
                return! if isKnown then next ctx else refuse ctx
            }
        elif known.Result then
            next ctx
        else
            refuse ctx

/// Looks the request's host up, once. 503 if it has no target.
let requireTarget (clock: TimeProvider) (hosts: unit -> HostMap<HostEntry>) : HttpHandler =
    let refuse = Refusals.refuse clock Refusal.NoTarget

    fun next ctx ->
        let request = IngressRequest.Of ctx
        let hosts = hosts ()

        match hosts.TryFind request.Head.Host with
        | ValueSome entry ->
            request.Hosts <- hosts
            request.Entry <- entry
            next ctx
        | ValueNone -> refuse ctx

/// Refuses what none of the host's targets wants: 503.
let requireMatch (clock: TimeProvider) : HttpHandler =
    let refuse = Refusals.refuse clock Refusal.NoMatch

    fun next ctx ->
        let request = IngressRequest.Of ctx

        match request.Entry with
        | null -> next ctx
        | entry when entry.IsWanted request.Head -> next ctx
        | _ -> refuse ctx

/// Refuses what must not be copied (see `Admission.checkRouted`).
let requireCopyable (clock: TimeProvider) (viaName: string) : HttpHandler =
    fun next ctx ->
        match Admission.checkRouted viaName (IngressRequest.Of ctx).Head with
        | ValueNone -> next ctx
        | ValueSome refusal -> Refusals.refuse clock refusal ctx
