namespace K8sReq.TestKit.Baseline

open System
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

/// What can be seen of a send on the connection that it got.
[<Sealed>]
type SendTrace() =
    static let current = AsyncLocal<SendTrace | null>()
    let mutable isOnUsedConnection = false
    let mutable hasAnswer = false

    /// That of the send which the running code belongs to.
    static member Current
        with get () = current.Value
        and set (trace: SendTrace | null) = current.Value <- trace

    /// The connection had served another send before.
    member _.IsOnUsedConnection
        with get () = Volatile.Read &isOnUsedConnection
        and set value = Volatile.Write(&isOnUsedConnection, value)

    /// At least one byte of an answer came.
    member _.HasAnswer
        with get () = Volatile.Read &hasAnswer
        and set value = Volatile.Write(&hasAnswer, value)

/// A connection that writes down in each send's trace what the handler above it does not tell. The handler writes in
/// the context of the send, which is how a trace finds its connection; one send at a time uses it.
[<Sealed>]
type TracedStream(socket: Socket) =
    inherit Stream()
    let inner = new NetworkStream(socket, ownsSocket = true)
    let mutable owner: SendTrace | null = null

    let noteWrite () =
        match SendTrace.Current with
        | null -> ()
        | trace ->
            let before = Volatile.Read &owner

            if not (Object.ReferenceEquals(before, trace)) then
                trace.IsOnUsedConnection <- not (isNull before)
                Volatile.Write(&owner, trace)

    let noteRead count =
        if count > 0 then
            match Volatile.Read &owner with
            | null -> ()
            | trace -> trace.HasAnswer <- true

        count

    override _.CanRead = true
    override _.CanWrite = true
    override _.CanSeek = false
    override _.Length = raise (NotSupportedException())

    override _.Position
        with get () = raise (NotSupportedException())
        and set _ = raise (NotSupportedException())

    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())
    override _.Flush() = ()
    override _.FlushAsync _ = Task.CompletedTask

    override _.Read(buffer: byte[], offset, count) =
        inner.Read(buffer, offset, count) |> noteRead

    override _.Write(buffer: byte[], offset, count) =
        noteWrite ()
        inner.Write(buffer, offset, count)

    override _.ReadAsync(buffer: Memory<byte>, cancelled: CancellationToken) =
        let pending = inner.ReadAsync(buffer, cancelled)

        if pending.IsCompletedSuccessfully then
            ValueTask<int>(noteRead pending.Result)
        else
            ValueTask<int>(
                task {
                    let! count = pending
                    return noteRead count
                }
            )

    override stream.ReadAsync(buffer: byte[], offset, count, cancelled) =
        stream.ReadAsync(Memory(buffer, offset, count), cancelled).AsTask()

    override _.WriteAsync(buffer: ReadOnlyMemory<byte>, cancelled: CancellationToken) =
        noteWrite ()
        inner.WriteAsync(buffer, cancelled)

    override stream.WriteAsync(buffer: byte[], offset, count, cancelled) =
        stream.WriteAsync(ReadOnlyMemory(buffer, offset, count), cancelled).AsTask()

    override _.Dispose(isDisposing) =
        if isDisposing then
            inner.Dispose()

        base.Dispose isDisposing

module TracedStream =
    /// Connects to the address that a request is for; it is an IP address, so nothing is looked up.
    let connect (context: SocketsHttpConnectionContext) (cancelled: CancellationToken) : ValueTask<Stream> =
        let endpoint =
            IPEndPoint(IPAddress.Parse(context.DnsEndPoint.Host.Trim('[', ']')), context.DnsEndPoint.Port)

        let socket =
            new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

        ValueTask<Stream>(
            task {
                let mutable isConnected = false

                try
                    do! socket.ConnectAsync(endpoint, cancelled)
                    isConnected <- true
                finally
                    if not isConnected then
                        socket.Dispose()

                return new TracedStream(socket) :> Stream
            }
        )
