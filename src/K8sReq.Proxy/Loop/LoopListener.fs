namespace K8sReq.Proxy

open System
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets

/// A client's connection that was accepted, on a loop. What is done with it is done there.
[<Sealed>]
type LoopClient
    internal
    (
        loop: EventLoop,
        descriptor: int,
        id: string,
        local: EndPoint | null,
        remote: EndPoint | null,
        give: ConnectionContext -> bool,
        ended: unit -> unit
    ) =
    // What comes from the other side, and room for what goes there, each told of once.
    static let watched =
        Events.readable
        ||| Events.writable
        ||| Events.inputEnded
        ||| Events.edgeTriggered

    member _.Loop = loop
    member _.Descriptor = descriptor
    member _.Remote = remote

    /// Tells the handler of what happens. To be called first, once.
    member _.Watch(handler: LoopHandler) : unit =
        loop.Watch(descriptor, watched, handler)

    member _.Close() : unit =
        loop.Close descriptor
        ended ()

    /// Instead of `Watch`: closes the connection.
    member _.Refuse() : unit =
        Libc.close descriptor
        ended ()

    /// Gives the connection to the server, with what was received and not used. After `Watch`; the last thing that is done with it.
    member client.GiveToServer(first: byte[]) : unit =
        let connection = LoopConnection(loop, descriptor, id, local, remote, first, ended)

        connection.Start()

        if give connection then
            connection.Resume()
        else
            connection.Abort(ConnectionAbortedException "The server has stopped.")

/// Serves connections on loops before the server does.
type LoopServer =
    /// A connection has been accepted. On its loop.
    abstract Serve: LoopClient -> unit
    /// No connection comes any more: closes those that wait for a request, lets requests that are being answered finish, and
    /// closes what is left when the token says so.
    abstract StopAsync: giveUp: CancellationToken -> Task

/// What loops need to accept connections.
[<NoEquality; NoComparison>]
type LoopListening = {
    Loops: EventLoop[]
    /// The most connections at once; more are closed.
    MostConnections: int option
    /// The highest descriptor that a connection may have.
    HighestDescriptor: int
    /// Told why no connection can be accepted, once a minute at most.
    Exhausted: string -> unit
    /// Gets the connections first; without it they are the server's at once.
    Server: LoopServer option
}

/// How many connections there are, in all and on each loop. From any thread.
[<Sealed>]
type private LoopConnections(listening: LoopListening) =
    let loads: int[] = Array.zeroCreate listening.Loops.Length
    let mutable all = 0

    /// The loop that has the fewest; -1 if there are too many already.
    member _.TryEnter() : int =
        if Interlocked.Increment &all > defaultArg listening.MostConnections Int32.MaxValue then
            Interlocked.Decrement &all |> ignore
            -1
        else
            let mutable least = 0

            for index in 1 .. loads.Length - 1 do
                if Volatile.Read &loads[index] < Volatile.Read &loads[least] then
                    least <- index

            Interlocked.Increment &loads[least] |> ignore
            least

    member _.Leave(index: int) : unit =
        Interlocked.Decrement &all |> ignore
        Interlocked.Decrement &loads[index] |> ignore

/// Accepts connections on the first loop, and has each served by the loop that has the fewest.
[<Sealed>]
type private LoopListener(socket: Socket, listening: LoopListening, connections: LoopConnections) =
    static let mostAtOnce = 64
    static let mutable accepted = 0L

    let loop = listening.Loops[0]
    let descriptor = int socket.Handle
    let endpoint = socket.LocalEndPoint

    // Those that are the server's.
    let given =
        Channel.CreateUnbounded<ConnectionContext>(UnboundedChannelOptions(SingleReader = true))

    let pause = AcceptPause listening.Exhausted
    let mutable isOver = false

    let serve (index: int) (client: Libc.Accepted) =
        let loop = listening.Loops[index]
        let number = Interlocked.Increment &accepted

        let served =
            LoopClient(
                loop,
                client.Descriptor,
                number.ToString("X"),
                Libc.localAddress client.Descriptor,
                client.Remote,
                given.Writer.TryWrite,
                (fun () -> connections.Leave index)
            )

        loop.Run(fun () ->
            match listening.Server with
            | Some server -> server.Serve served
            | None ->
                served.Watch(fun _ -> ())
                served.GiveToServer [||])

    // There are too few descriptors: the same connection would be told of again at once.
    member private listener.Pause(reason: string) =
        pause.Tell reason
        loop.Rewatch(descriptor, 0)

        let goOn () =
            if not isOver then
                loop.Rewatch(descriptor, Events.readable)

        Task.Delay(AcceptPause.Length).ContinueWith(fun (_: Task) -> loop.Post(fun () -> goOn ()))
        |> ignore

    member private listener.Accept() =
        let mutable left = mostAtOnce

        while left > 0 do
            left <- left - 1
            let client = Libc.accept descriptor

            if client.Descriptor > listening.HighestDescriptor then
                Libc.close client.Descriptor
                left <- 0
                listener.Pause "too few descriptors are left"
            elif client.Descriptor >= 0 then
                Libc.noDelay client.Descriptor

                match connections.TryEnter() with
                | -1 -> Libc.close client.Descriptor
                | index -> serve index client
            else
                match client.Error with
                | SocketError.WouldBlock -> left <- 0
                | error when AcceptPause.IsOfOne error -> ()
                | error ->
                    left <- 0
                    listener.Pause(SocketException(int error).Message)

    member listener.Start() : unit =
        loop.Run(fun () -> loop.Watch(descriptor, Events.readable, (fun _ -> listener.Accept())))

    interface IConnectionListener with
        member _.EndPoint =
            match endpoint with
            | null -> invalidOp "A socket that is bound has an address."
            | endpoint -> endpoint

        member _.AcceptAsync(cancelled: CancellationToken) =
            ValueTask<ConnectionContext | null>(
                task {
                    let mutable result: ConnectionContext | null = null

                    try
                        let! connection = given.Reader.ReadAsync cancelled
                        result <- connection
                    with
                    | :? ChannelClosedException
                    | :? OperationCanceledException -> ()

                    return result
                }
            )

        member _.UnbindAsync _ =
            let unbound =
                TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            loop.Run(fun () ->
                if not isOver then
                    isOver <- true
                    loop.Forget descriptor
                    socket.Dispose()
                    given.Writer.Complete()

                unbound.TrySetResult() |> ignore)

            ValueTask unbound.Task

        member listener.DisposeAsync() =
            (listener :> IConnectionListener).UnbindAsync CancellationToken.None

/// Makes listeners whose connections are served on loops.
[<Sealed>]
type LoopListenerFactory(listening: LoopListening) =
    // Of all addresses of the server together.
    let connections = LoopConnections listening
    let options = SocketTransportOptions()

    interface IConnectionListenerFactory with
        member _.BindAsync(endpoint: EndPoint, _: CancellationToken) =
            let socket = ListenSocket.bind options endpoint
            socket.Blocking <- false
            let listener = LoopListener(socket, listening, connections)
            listener.Start()
            ValueTask<IConnectionListener>(listener)
