namespace K8sReq.Proxy

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Hosting.Server
open Microsoft.AspNetCore.Hosting.Server.Features
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open K8sReq.Core

/// An address that could not be listened on, and why.
type BindError = {
    Address: ListenAddress
    Reason: string
}

module BindError =
    /// One line for the operator. `setting` is what sets the address, `others` how to choose another one.
    let describe (setting: string) (others: string) (error: BindError) : string =
        $"cannot listen on {error.Address} ({setting}): {error.Reason}. Choose another address with {others}; port 0 takes any free port"

/// What a client may take.
[<NoEquality; NoComparison>]
type ServerLimits = {
    /// Of time, for a request's head.
    Headers: TimeSpan
    /// Of time, between two requests: the connection is closed then.
    Idle: TimeSpan
    /// All clients together; None for no limit.
    Connections: int option
    /// Where what connections hold counts; None for a server that only trusted clients reach.
    Memory: ConnectionMemory option
    /// The highest descriptor that a connection may have: those above are left for other things.
    HighestDescriptor: int
    /// Told why no connection can be accepted, once a minute at most.
    Exhausted: string -> unit
}

/// What carries a server's connections, and where its pipeline runs.
[<RequireQualifiedAccess; NoEquality; NoComparison>]
type ServerTransport =
    /// The runtime's sockets; the pipeline may block.
    | Pooled
    /// The runtime's sockets. The pipeline runs where its bytes were received, on a thread that others wait for too: it must
    /// not block (see `InlineSockets`).
    | Inline
    /// Event loops, on which the pipeline runs, too; before that, if it is given, what serves connections itself.
    | Loops of EventLoop[] * LoopServer option

/// A request, and how its connection reads heads: null for HTTP/2.
[<Struct; NoEquality; NoComparison>]
type private Exchange = {
    Context: HttpContext
    Lines: RequestLines | null
}

/// A pipeline as Kestrel calls it. A request that no handler takes is answered 404.
type private PipelineApplication(handler: HttpHandler) =
    // Bytes, or characters of all values.
    static let largestKeptHead = 4096

    // The last function ends every pipeline; applied once, here.
    let pipeline: HttpFunc = handler earlyReturn

    let lengthOf (headers: IHeaderDictionary) =
        let mutable length = 0

        for KeyValue(_, values) in headers do
            for value in values do
                length <- length + (string value).Length

        length

    interface IHttpApplication<Exchange> with
        member _.CreateContext features =
            let lines = features.Get<RequestLines>()

            match lines with
            | null ->
                match features.Get<Http2Heads>() with
                | null -> ()
                | heads -> heads.HeadEnded()
            | lines -> lines.HeadEnded()

            {
                Context = DefaultHttpContext features
                Lines = lines
            }

        member _.ProcessRequestAsync exchange = task {
            let ctx = exchange.Context

            match! pipeline ctx with
            | Some _ -> ()
            | None when ctx.Response.HasStarted -> ()
            | None -> ctx.Response.StatusCode <- StatusCodes.Status404NotFound
        }

        // The server keeps the strings of a head for the next one, of HTTP/2 for each of a connection's hundred streams:
        // those of a large one are not worth their memory.
        member _.DisposeContext(exchange, _) =
            let isSmall =
                match exchange.Lines with
                | null -> false
                | lines -> lines.HeadLength <= int64 largestKeptHead

            if not isSmall then
                let headers = exchange.Context.Request.Headers

                if lengthOf headers > largestKeptHead then
                    for name in List.ofSeq headers.Keys do
                        headers.Remove name |> ignore

/// Kestrel with one pipeline behind one address. Each address has a server of its own: the admin ports go on
/// answering while the proxy's is stopped, and no header a client controls decides which pipeline it reaches.
[<Sealed>]
type HttpServer private (server: KestrelServer, before: LoopServer option, address: ListenAddress) =
    /// The port that is listened on, also where port 0 was asked for.
    member _.Port =
        match server.Features.Get<IServerAddressesFeature>() with
        | null -> address.Port
        | addresses ->
            addresses.Addresses
            |> Seq.tryHead
            |> Option.map (fun url -> BindingAddress.Parse(url).Port)
            |> Option.defaultValue address.Port

    /// Stops listening, lets requests that are being answered finish, and closes what is left when the token says so.
    member _.StopAsync(giveUp: CancellationToken) : Task = task {
        // It stops listening before the first wait.
        let stopping = server.StopAsync giveUp

        match before with
        | Some before -> do! before.StopAsync giveUp
        | None -> ()

        do! stopping
        server.Dispose()
    }

    static member internal Create(server, before, address) = HttpServer(server, before, address)

module HttpServer =
    let private configureEndpoint (limits: ServerLimits) (endpoint: ListenOptions) =
        endpoint.Protocols <- HttpProtocols.Http1AndHttp2
        Http2Preface.recognise limits.Headers endpoint
        HalfClose.allow endpoint

        limits.Memory
        |> Option.iter (fun memory -> ConnectionMemory.guard memory endpoint)

    let private listen (options: KestrelServerOptions) configure (address: ListenAddress) =
        let configure = Action<ListenOptions> configure

        match address.Host with
        | ListenHost.Any -> options.ListenAnyIP(address.Port, configure)
        // Kestrel chooses no port for the two loopback addresses at once.
        | ListenHost.Localhost when address.Port = 0 -> options.Listen(IPAddress.Loopback, 0, configure)
        | ListenHost.Localhost -> options.ListenLocalhost(address.Port, configure)
        | ListenHost.Address ip -> options.Listen(ip, address.Port, configure)

    let private optionsFor (limits: ServerLimits) =
        let options = KestrelServerOptions()
        options.AddServerHeader <- false
        // A request target in absolute form may name another host than the Host field; see RequestHead.create.
        options.AllowHostHeaderOverride <- true
        // Kestrel takes a connection with prior knowledge of HTTP/2 for one with TLS; its scheme says http all the same.
        options.AllowAlternateSchemes <- true
        // Bytes above 127 in a field's value survive; UTF-8 that is none would be refused or changed.
        options.RequestHeaderEncodingSelector <-
            fun name ->
                if name.Equals("Connection", StringComparison.OrdinalIgnoreCase) then
                    ConnectionField.encoding
                elif name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase) then
                    KestrelFields.contentLength
                elif name.Equals("Host", StringComparison.OrdinalIgnoreCase) then
                    KestrelFields.host
                else
                    Encoding.Latin1

        // The capture bounds bodies, in size and in time.
        options.Limits.MaxRequestBodySize <- Nullable()
        options.Limits.MinRequestBodyDataRate <- null
        options.Limits.MaxRequestLineSize <- 32 * 1024
        options.Limits.MaxRequestHeadersTotalSize <- 64 * 1024
        options.Limits.MaxRequestHeaderCount <- 500
        options.Limits.RequestHeadersTimeout <- limits.Headers
        options.Limits.KeepAliveTimeout <- limits.Idle

        match limits.Connections with
        | Some most -> options.Limits.MaxConcurrentConnections <- Nullable(int64 most)
        | None -> ()
        // A field that is larger than this ends the connection with all its streams; a head that is larger than the total
        // is answered 431 on its stream, up to twice the total, where Kestrel gives the connection up.
        options.Limits.Http2.MaxRequestHeaderFieldSize <- 2 * 64 * 1024
        options

    // What the system said, without the layers that Kestrel wraps it in.
    let private reasonOf (error: exn) = error.GetBaseException().Message

    let private socketTransport (loggers: ILoggerFactory) (runsInline: bool) (limits: ServerLimits) =
        PatientListenerFactory(
            SocketTransportOptions(
                UnsafePreferInlineScheduling = runsInline,
                // A connection that waits has a block of memory; asking twice for each request costs more.
                WaitForDataBeforeAllocatingBuffer = not runsInline
            ),
            loggers,
            limits.HighestDescriptor,
            limits.Exhausted
        )
        :> IConnectionListenerFactory

    let private loopTransport (loops: EventLoop[]) (before: LoopServer option) (limits: ServerLimits) =
        LoopListenerFactory {
            Loops = loops
            MostConnections = limits.Connections
            HighestDescriptor = limits.HighestDescriptor
            Exhausted = limits.Exhausted
            Server = before
        }
        :> IConnectionListenerFactory

    let private startBehind
        (before: LoopServer option)
        (transport: IConnectionListenerFactory)
        (loggers: ILoggerFactory)
        (limits: ServerLimits)
        (address: ListenAddress)
        (handler: HttpHandler)
        : Task<Result<HttpServer, BindError>> = task {
        let options = optionsFor limits
        listen options (configureEndpoint limits) address
        let server = new KestrelServer(Options.Create options, transport, loggers)

        try
            do! server.StartAsync(PipelineApplication handler, CancellationToken.None)
            return Ok(HttpServer.Create(server, before, address))
        with
        | :? IOException
        | :? SocketException
        | :? AddressInUseException as error ->
            server.Dispose()

            return
                Error {
                    Address = address
                    Reason = reasonOf error
                }
    }

    /// Listens on the address by `transport` and sends what comes in through the pipeline.
    let startOn
        (transport: IConnectionListenerFactory)
        (loggers: ILoggerFactory)
        (limits: ServerLimits)
        (address: ListenAddress)
        (handler: HttpHandler)
        : Task<Result<HttpServer, BindError>> =
        startBehind None transport loggers limits address handler

    /// Listens on the address and sends what comes in through the pipeline.
    let start
        (loggers: ILoggerFactory)
        (transport: ServerTransport)
        (limits: ServerLimits)
        (address: ListenAddress)
        (handler: HttpHandler)
        : Task<Result<HttpServer, BindError>> =
        match transport with
        | ServerTransport.Pooled ->
            startOn (socketTransport loggers false limits) loggers limits address handler
        | ServerTransport.Inline ->
            startOn (socketTransport loggers true limits) loggers limits address handler
        | ServerTransport.Loops(loops, before) ->
            startBehind before (loopTransport loops before limits) loggers limits address handler
