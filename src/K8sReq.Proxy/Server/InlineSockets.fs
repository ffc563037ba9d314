namespace K8sReq.Proxy

open System
open System.IO
open System.Net.Http
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

/// A connection of which everything that waits for it goes on on the thread pool.
[<Sealed>]
type private PooledStream(inner: Stream) =
    inherit Stream()

    // What goes on from a task that is not completed yet goes on where it is completed: on the thread of the sockets. To
    // yield from there takes a second one, that is completed.
    static let hop () =
        Task.CompletedTask.ConfigureAwait ConfigureAwaitOptions.ForceYielding

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
    override _.Read(buffer: byte[], offset, count) = inner.Read(buffer, offset, count)
    override _.Write(buffer: byte[], offset, count) = inner.Write(buffer, offset, count)

    override _.ReadAsync(buffer: Memory<byte>, cancelled: CancellationToken) =
        let reading = inner.ReadAsync(buffer, cancelled)

        if reading.IsCompleted then
            reading
        else
            ValueTask<int>(
                task {
                    let reading = reading.AsTask()
                    do! (reading :> Task).ConfigureAwait ConfigureAwaitOptions.SuppressThrowing
                    do! hop ()
                    return! reading
                }
            )

    override stream.ReadAsync(buffer: byte[], offset, count, cancelled) =
        stream.ReadAsync(Memory(buffer, offset, count), cancelled).AsTask()

    override _.WriteAsync(buffer: ReadOnlyMemory<byte>, cancelled: CancellationToken) =
        let writing = inner.WriteAsync(buffer, cancelled)

        if writing.IsCompleted then
            writing
        else
            ValueTask(
                task {
                    let writing = writing.AsTask()
                    do! writing.ConfigureAwait ConfigureAwaitOptions.SuppressThrowing
                    do! hop ()
                    return! writing
                }
                :> Task
            )

    override stream.WriteAsync(buffer: byte[], offset, count, cancelled) =
        stream.WriteAsync(ReadOnlyMemory(buffer, offset, count), cancelled).AsTask()

    override _.Dispose(isDisposing) =
        if isDisposing then
            inner.Dispose()

        base.Dispose isDisposing

/// Whatever waits for a socket goes on where its readiness is found out, without the thread pool between the two: at
/// moderate load, waking its threads costs more than the work itself (see bench/NOTES.md).
///
/// The rule that this binds everybody to: **what goes on from a socket must not block**, for the thread serves all other
/// sockets. Requests and copies keep to it: their locks are held for nanoseconds, their log lines go into a queue that
/// drops what it cannot take. What cannot keep to it takes its connections from `elsewhere`.
module InlineSockets =
    /// To be called before the process has made its first socket; later it does nothing. An operator's own setting of
    /// the variable stays.
    let enable () : unit =
        let variable = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS"

        if isNull (Environment.GetEnvironmentVariable variable) then
            Environment.SetEnvironmentVariable(variable, "1")

    let private connect
        (context: SocketsHttpConnectionContext)
        (cancelled: CancellationToken)
        : Task<Stream> = task {
        let socket = new Socket(SocketType.Stream, ProtocolType.Tcp, NoDelay = true)
        // A server that is gone without a word is found in 45 s over HTTP/1.1 too, where there are no pings.
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true)
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30)
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 5)
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3)
        let mutable isConnected = false

        try
            do! socket.ConnectAsync(context.DnsEndPoint, cancelled)
            isConnected <- true
        finally
            if not isConnected then
                socket.Dispose()

        do! Task.CompletedTask.ConfigureAwait ConfigureAwaitOptions.ForceYielding
        return new PooledStream(new NetworkStream(socket, ownsSocket = true)) :> Stream
    }

    /// Makes a handler's connections ones that may be waited for by code that blocks or that takes its time.
    let elsewhere (handler: SocketsHttpHandler) : unit =
        handler.ConnectCallback <- fun context cancelled -> ValueTask<Stream>(connect context cancelled)
