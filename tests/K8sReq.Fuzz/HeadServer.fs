/// The proxy's server with connections in memory, to see what it makes of a head.
module K8sReq.Fuzz.HeadServer

open System
open System.Collections.Generic
open System.IO.Pipelines
open System.Net
open System.Text
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

/// What the pipeline saw of a connection's last request. A feature of the connection.
[<Sealed>]
type Seen() =
    member val Head: RequestHead voption = ValueNone with get, set
    member val ContentLength = Nullable<int64>() with get, set
    member val HasBody = false with get, set

/// How the server has responded.
[<Struct>]
type Response = {
    Status: int
    /// It closes the connection.
    Closes: bool
}

// Whatever waits for a pipe goes on in the call that writes to it, so that a request has been responded to when it has been
// written.
let private pipe () =
    Pipe(
        PipeOptions(
            readerScheduler = PipeScheduler.Inline,
            writerScheduler = PipeScheduler.Inline,
            pauseWriterThreshold = 0L,
            useSynchronizationContext = false
        )
    )

[<Sealed>]
type private MemoryConnection(input: PipeReader, output: PipeWriter, seen: Seen) =
    inherit ConnectionContext()
    let features = FeatureCollection()
    let closed = new CancellationTokenSource()

    let transport = {
        new IDuplexPipe with
            member _.Input = input
            member _.Output = output
    }

    do features.Set<Seen> seen

    override val ConnectionId = "memory" with get, set
    override _.Features = features
    override val Items: IDictionary<obj, obj | null> = Dictionary<obj, obj | null>() with get, set
    override val Transport: IDuplexPipe = transport with get, set
    override val ConnectionClosed = closed.Token with get, set
    override val LocalEndPoint: EndPoint | null = IPEndPoint(IPAddress.Loopback, 1) with get, set
    override val RemoteEndPoint: EndPoint | null = IPEndPoint(IPAddress.Loopback, 2) with get, set

    override _.Abort() = closed.Cancel()
    override _.Abort _ = closed.Cancel()

    override _.DisposeAsync() =
        closed.Cancel()
        input.Complete()
        output.Complete()
        ValueTask.CompletedTask

[<Sealed>]
type private MemoryListener(endpoint: EndPoint, connections: Channel<ConnectionContext | null>) =
    interface IConnectionListener with
        member _.EndPoint = endpoint

        member _.AcceptAsync(cancelled: CancellationToken) =
            ValueTask<ConnectionContext | null>(
                task {
                    try
                        return! connections.Reader.ReadAsync cancelled
                    with
                    | :? ChannelClosedException
                    | :? OperationCanceledException -> return null
                }
            )

        member _.UnbindAsync _ =
            connections.Writer.TryComplete() |> ignore
            ValueTask.CompletedTask

        member _.DisposeAsync() = ValueTask.CompletedTask

/// A client's connection to such a server.
[<Sealed>]
type HeadConnection(toServer: PipeWriter, fromServer: PipeReader, seen: Seen) =
    // Far beyond what a response takes: it only ends what hangs.
    static let patience = TimeSpan.FromSeconds 20.0

    let headEnd = "\r\n\r\n"B
    let close = "\r\nConnection: close\r\n"B

    // The first response that has come whole, without those that are only on the way to one.
    let rec take () : Response voption =
        let mutable result = Unchecked.defaultof<ReadResult>

        if not (fromServer.TryRead &result) then
            ValueNone
        else
            let bytes =
                if result.Buffer.IsSingleSegment then
                    result.Buffer.FirstSpan
                else
                    let buffer = result.Buffer
                    ReadOnlySpan(Buffers.BuffersExtensions.ToArray &buffer)

            match bytes.IndexOf(ReadOnlySpan headEnd) with
            | -1 ->
                fromServer.AdvanceTo(result.Buffer.Start, result.Buffer.End)
                ValueNone
            | at ->
                let head = bytes.Slice(0, at + 2)
                let status = int (Encoding.ASCII.GetString(head.Slice(9, 3)))
                let closes = head.IndexOf(ReadOnlySpan close) >= 0
                fromServer.AdvanceTo(result.Buffer.GetPosition(int64 (at + 4)))

                if status < 200 then
                    take ()
                else
                    ValueSome { Status = status; Closes = closes }

    /// What the pipeline has seen since the last request was written.
    member _.Seen = seen

    /// Writes a part of a request.
    member _.Write(bytes: ReadOnlySpan<byte>) : unit =
        bytes.CopyTo(toServer.GetSpan bytes.Length)
        toServer.Advance bytes.Length
        let flushed = toServer.FlushAsync()

        if not flushed.IsCompleted then
            flushed.AsTask().Wait()

    /// The response, if it has come already.
    member _.TryTake() : Response voption = take ()

    /// Waits for the response; none if it does not come.
    member _.Take() : Response voption =
        match take () with
        | ValueSome response -> ValueSome response
        | ValueNone ->
            let deadline = Environment.TickCount64 + int64 patience.TotalMilliseconds
            let mutable taken = ValueNone
            let mutable isOver = false

            while taken.IsNone && not isOver do
                let reading = fromServer.ReadAsync().AsTask()
                let left = deadline - Environment.TickCount64

                if left <= 0L || not (reading.Wait(int left)) then
                    fromServer.CancelPendingRead()
                    isOver <- true
                else
                    let result = reading.Result
                    // Nothing is taken yet: it can be read again.
                    fromServer.AdvanceTo result.Buffer.Start
                    taken <- take ()
                    isOver <- result.IsCompleted

            taken

    interface IDisposable with
        member _.Dispose() =
            toServer.Complete()
            fromServer.Complete()

/// Bodies that are longer are not read, and not to be sent.
[<Literal>]
let LongestBody = 256L

let private handler: HttpHandler =
    fun _ ctx -> task {
        match ctx.Features.Get<Seen>() with
        | null -> return invalidOp "A connection that is not from here."
        | seen ->
            seen.ContentLength <- ctx.Request.ContentLength

            seen.HasBody <-
                match ctx.Features.Get<IHttpRequestBodyDetectionFeature>() with
                | null -> false
                | detection -> detection.CanHaveBody

            seen.Head <- ValueSome(RequestCapture.headOf ctx)

            let! _ =
                RequestCapture.skipBody TimeProvider.System (TimeSpan.FromSeconds 10.0) LongestBody ctx

            ctx.Response.StatusCode <- StatusCodes.Status204NoContent
            return Some ctx
    }

[<Sealed>]
type HeadServer private (server: HttpServer, connections: Channel<ConnectionContext | null>) =
    /// A server with the options and limits of the proxy's.
    static member Start() : HeadServer =
        let connections = Channel.CreateUnbounded<ConnectionContext | null>()

        let transport = {
            new IConnectionListenerFactory with
                member _.BindAsync(endpoint, _) =
                    ValueTask<IConnectionListener>(MemoryListener(endpoint, connections))
        }

        let limits = {
            Headers = TimeSpan.FromSeconds 30.0
            Idle = TimeSpan.FromMinutes 3.0
            Connections = Some 10_000
            Memory =
                Some {
                    Budget = BufferBudget 1_000_000_000L
                    Shares = ClientShares()
                }
            HighestDescriptor = Int32.MaxValue
            Exhausted = ignore
        }

        let address = {
            Host = ListenHost.Address IPAddress.Loopback
            Port = 0
        }

        let starting =
            HttpServer.startOn transport Abstractions.NullLoggerFactory.Instance limits address handler

        match starting.Result with
        | Ok server -> new HeadServer(server, connections)
        | Error error -> failwith error.Reason

    member _.Connect() : HeadConnection =
        let toServer = pipe ()
        let fromServer = pipe ()
        let seen = Seen()

        if not (connections.Writer.TryWrite(MemoryConnection(toServer.Reader, fromServer.Writer, seen))) then
            invalidOp "The server has stopped."

        new HeadConnection(toServer.Writer, fromServer.Reader, seen)

    interface IDisposable with
        member _.Dispose() =
            use giveUp = new CancellationTokenSource(TimeSpan.FromSeconds 1.0)
            server.StopAsync(giveUp.Token).Wait()
