namespace K8sReq.Proxy

open System
open System.Buffers
open System.IO.Pipelines
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections

/// A client's connection on an event loop, for the server to read requests from: what comes goes into a pipe, what is written
/// into another one comes out. `first` has been received already. Made on the loop, which watches the descriptor; it is closed
/// when the connection is disposed of.
///
/// A client that closes its side has sent all that it wanted: the input ends, and the connection goes on.
[<Sealed>]
type LoopConnection
    (
        loop: EventLoop,
        descriptor: int,
        id: string,
        local: EndPoint | null,
        remote: EndPoint | null,
        first: byte[],
        // Told once the descriptor is closed.
        ended: unit -> unit
    ) =
    inherit DefaultConnectionContext(id)

    // Of a block that is received into.
    static let blockSize = 4096
    // As Kestrel's own transport: bytes that are read ahead of the server, and written ahead of the client.
    static let readAhead = 1024L * 1024L
    static let writtenAhead = 64L * 1024L

    static let pipe (ahead: int64) =
        Pipe(
            PipeOptions(
                MemoryPool.Shared,
                PipeScheduler.Inline,
                PipeScheduler.Inline,
                ahead,
                ahead / 2L,
                blockSize,
                useSynchronizationContext = false
            )
        )

    let input = pipe readAhead
    let output = pipe writtenAhead
    let closed = new CancellationTokenSource()

    // Of the loop's thread alone.
    let mutable isClosed = false
    // The server has enough to read: nothing is received until it has read some.
    let mutable isPaused = false
    // Something has come, or will not any more, that has not been received.
    let mutable isReadable = true
    let mutable isInputOver = false
    // Set while the system takes no more.
    let mutable room: TaskCompletionSource | null = null

    // Reading and writing have ended both, or something else has.
    let outputOver =
        TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    member private _.EndInput(error: exn | null) =
        if not isInputOver then
            isInputOver <- true
            input.Writer.Complete error

    // What is waited for ends as failed.
    member private connection.Close() =
        if not isClosed then
            isClosed <- true
            loop.Close descriptor
            connection.EndInput(ConnectionResetException "The connection was closed.")

            match room with
            | null -> ()
            | waiting -> waiting.TrySetResult() |> ignore

            closed.Cancel()
            ended ()

    member private connection.ReceiveAll() =
        while isReadable && not (isPaused || isInputOver || isClosed) do
            let space = input.Writer.GetMemory blockSize
            let moved = Libc.receive descriptor space.Span

            match moved.Error with
            | SocketError.Success when moved.Count > 0 ->
                input.Writer.Advance moved.Count
                connection.Flush()
            | SocketError.Success -> connection.EndInput null
            | SocketError.WouldBlock -> isReadable <- false
            | error -> connection.EndInput(ConnectionResetException(SocketException(int error).Message))

    member private connection.Flush() =
        let flushing = input.Writer.FlushAsync()

        if flushing.IsCompletedSuccessfully then
            connection.Flushed flushing.Result
        else
            isPaused <- true

            let goOn () =
                loop.Run(fun () ->
                    isPaused <- false
                    connection.Flushed(flushing.GetAwaiter().GetResult())
                    connection.ReceiveAll())

            flushing.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted(fun () -> goOn ())

    // The server reads no more: what comes is of no use.
    member private connection.Flushed(result: FlushResult) =
        if result.IsCompleted then
            connection.EndInput null

    // Completed on the loop.
    member private _.OnLoop() : Task =
        if loop.IsHere then
            Task.CompletedTask
        else
            let there = TaskCompletionSource()
            loop.Post(fun () -> there.SetResult())
            there.Task

    // False once nothing can be sent any more.
    member private _.SendAll(bytes: ReadOnlySequence<byte>) : Task<bool> = task {
        let mutable rest = bytes
        let mutable isSending = true

        while isSending && not rest.IsEmpty do
            if isClosed then
                isSending <- false
            else
                let moved = Libc.sendPieces descriptor rest

                match moved.Error with
                | SocketError.Success -> rest <- rest.Slice(int64 moved.Count)
                | SocketError.WouldBlock ->
                    let waiting = TaskCompletionSource()
                    room <- waiting
                    do! waiting.Task
                    room <- null
                | _ -> isSending <- false

        return isSending
    }

    member private connection.Send() : Task = task {
        let mutable isSending = true

        while isSending do
            let! result = output.Reader.ReadAsync()
            do! connection.OnLoop()

            let! isSent = connection.SendAll result.Buffer
            output.Reader.AdvanceTo result.Buffer.End
            isSending <- isSent && not (result.IsCompleted || result.IsCanceled)

        // Who writes now learns that nobody reads.
        output.Reader.Complete()
        outputOver.TrySetResult() |> ignore
    }

    /// Begins to receive and to send. On the loop.
    member connection.Start() : unit =
        base.ConnectionClosed <- closed.Token
        base.LocalEndPoint <- local
        base.RemoteEndPoint <- remote

        base.Transport <- {
            new IDuplexPipe with
                member _.Input = input.Reader
                member _.Output = output.Writer
        }

        loop.HandOver(descriptor, (fun events -> connection.Happened events))
        connection.Send() |> ignore

        if first.Length > 0 then
            first.CopyTo(input.Writer.GetSpan first.Length)
            input.Writer.Advance first.Length
            connection.Flush()

    /// Receives what came meanwhile, once the server reads. On the loop.
    member connection.Resume() : unit = connection.ReceiveAll()

    member private connection.Happened(events: int) : unit =
        if events &&& ~~~Events.writable <> 0 then
            isReadable <- true
            connection.ReceiveAll()

        if events &&& (Events.writable ||| Events.failed ||| Events.hungUp) <> 0 then
            match room with
            | null -> ()
            | waiting -> waiting.TrySetResult() |> ignore

    override connection.Abort(_: ConnectionAbortedException) = loop.Run(fun () -> connection.Close())

    override connection.DisposeAsync() =
        let finish () : Task = task {
            // The server has ended both of its sides by now; what it has written is sent.
            input.Reader.Complete()
            output.Writer.Complete()
            do! outputOver.Task
            loop.Run(fun () -> connection.Close())
        }

        ValueTask(finish ())
