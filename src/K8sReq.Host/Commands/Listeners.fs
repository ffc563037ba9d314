/// The ports of the program.
module K8sReq.Host.Commands.Listeners

open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Proxy

/// An address that could not be listened on: the variable that sets it, and why.
type UnboundAddress = { Setting: string; Error: BindError }

/// A port of the program: what it is called in the log, and the variable that sets its address.
[<NoEquality; NoComparison>]
type Listener = {
    Name: string
    Setting: string
    Address: ListenAddress
    Transport: ServerTransport
    /// Told of requests that the server refuses by itself.
    Refused: ServerRefused
    Limits: ServerLimits
    Handler: HttpHandler
}

/// Binds all of them in their order, or none. Every address that is taken is reported, not just the first: two programs
/// on one machine collide on several.
let startAll
    (loggers: ILoggerFactory)
    (listeners: Listener list)
    : Task<Result<HttpServer list, UnboundAddress list>> = task {
    let logger = loggers.CreateLogger "k8sreq"
    let started = ResizeArray<HttpServer>()
    let unbound = ResizeArray<UnboundAddress>()

    for listener in listeners do
        let loggers = ServerRefusals.observe listener.Refused loggers

        match!
            HttpServer.start loggers listener.Transport listener.Limits listener.Address listener.Handler
        with
        | Ok server ->
            Log.listening logger listener.Name server.Port
            started.Add server
        | Error error ->
            unbound.Add {
                Setting = listener.Setting
                Error = error
            }

    if unbound.Count = 0 then
        return Ok(List.ofSeq started)
    else
        for server in started do
            do! server.StopAsync(CancellationToken true)

        return Error(List.ofSeq unbound)
}
