namespace K8sReq.Proxy

open System
open System.Buffers
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Threading
open K8sReq.Core

/// A connection on a socket of the runtime.
///
/// Its methods can be called from any thread. What they find out is decided under one lock and done outside of it.
[<Sealed>]
type SocketTargetConnection
    (
        clock: TimeProvider,
        timeouts: SendTimeouts,
        retiresAt: TimeSpan,
        endpoint: IPEndPoint,
        owner: ConnectionOwner
    ) =
    inherit TargetConnection()

    // Bytes that are received before other connections have their turn.
    static let mostAtOnce = 128 * 1024

    let socket =
        new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

    // The execution context is of no use to what comes after.
    let tcpInfo = GC.AllocateUninitializedArray<byte> 128
    let sending = new SocketAsyncEventArgs(true)
    let receiving = new SocketAsyncEventArgs(true)
    // Guards `state` and the timer. The sending side alone uses `unsent` and `written`: one send is under way at a time.
    let gate = Lock()
    let state = ConnectionState(clock, timeouts, retiresAt)
    // Where what has not been sent of the request begins.
    let mutable unsent = SequencePosition()
    // Bytes that the system has taken to send over this connection, and how many those were before this exchange.
    let mutable written = 0L
    let mutable writtenBefore = 0L
    let timer = DeadlineTimer clock

    // Something has come that nobody has asked for, and that will close the connection as soon as its turn comes.
    let hasUnread () =
        try
            socket.Available > 0
        with
        | :? ObjectDisposedException
        | :? SocketException -> true

    // To be called under the lock, after anything that has happened.
    let timed (effect: Effect) : Effect =
        timer.Set state.Deadline
        effect

    let expire () =
        timer.HasTold()
        state.Expire() |> timed

    let beginWith (next: Attempt) =
        unsent <- next.Request.Wire.Start
        writtenBefore <- written
        state.Begin next

    member private _.Release() =
        socket.Dispose()
        sending.Dispose()
        receiving.Dispose()
        timer.Stop()

    // Outside of the lock. The connection first: the next copy can use it then.
    member private connection.Perform(effect: Effect) =
        match effect.Sequel with
        | Sequel.Nothing -> ()
        | Sequel.Return -> owner.Returned connection
        // What is still being done with it ends, and comes back as failed.
        | Sequel.Abort -> socket.Dispose()
        | Sequel.Close ->
            connection.Release()
            owner.Closed connection

        match effect.Ended with
        | null -> ()
        | ended -> owner.Ended(ended, effect.Result, effect.MayRepeat)

    // What an operation has received; false if it was the last one.
    member private connection.Receive(error: SocketError, count: int) : bool =
        if error = SocketError.Success && count > 0 then
            let take () =
                if
                    state.AwaitsNextAnswer
                    && TcpInfo.hasAcknowledgedNothingAfter tcpInfo writtenBefore socket
                then
                    state.TookUnasked() |> timed
                else
                    state.Took count |> timed

            connection.Perform(exclusively gate take)
            true
        else
            // Before the socket is disposed of.
            let acknowledgedNothing =
                error = SocketError.Success
                && TcpInfo.hasAcknowledgedNothingAfter tcpInfo writtenBefore socket

            connection.Perform(
                exclusively gate (fun () -> state.InputEnded(error, acknowledgedNothing) |> timed)
            )

            false

    // Whether the system goes on with it by itself. What has been disposed of meanwhile is over, and failed.
    member private _.StartReceiving() : bool =
        try
            let space = state.Space
            receiving.SetBuffer(space.Array, space.Offset, space.Count)
            socket.ReceiveAsync receiving
        with :? ObjectDisposedException ->
            receiving.SocketError <- SocketError.OperationAborted
            false

    // Until there is nothing to receive at the moment. One flow of code at a time does this.
    member private connection.ReceiveAll() =
        let mutable isOver = false
        let mutable left = mostAtOnce

        while not isOver do
            if connection.StartReceiving() then
                isOver <- true
            else
                left <- left - receiving.BytesTransferred
                isOver <- not (connection.Receive(receiving.SocketError, receiving.BytesTransferred))

                // A target that sends faster than is read here would keep the thread from all other connections.
                if not isOver && left <= 0 then
                    isOver <- true

                    ThreadPool.UnsafeQueueUserWorkItem(
                        (fun (it: SocketTargetConnection) -> it.ReceiveAll()),
                        connection,
                        false
                    )
                    |> ignore

    // As above.
    member private _.StartSending(piece: ReadOnlyMemory<byte>) : bool =
        try
            sending.SetBuffer(MemoryMarshal.AsMemory piece)
            socket.SendAsync sending
        with :? ObjectDisposedException ->
            sending.SocketError <- SocketError.OperationAborted
            false

    member private connection.Sent(error: SocketError) =
        connection.Perform(exclusively gate (fun () -> state.Sent(error, (written = writtenBefore)) |> timed))

    // One piece after the other. Most of the time the system takes each at once, and nothing waits.
    member private connection.SendAll(request: CapturedRequest, exchange: int) =
        let mutable isOver = false
        let mutable piece = ReadOnlyMemory<byte>()

        while not isOver do
            if not (request.Wire.TryGet(&unsent, &piece, true)) then
                isOver <- true
                connection.Sent SocketError.Success
            elif connection.StartSending piece then
                isOver <- true

                // It may have been sent meanwhile, and something else be under way.
                connection.Perform(exclusively gate (fun () -> state.SendIsPending exchange |> timed))
            else
                // The system may have taken a part of a piece before it failed.
                written <- written + int64 sending.BytesTransferred

                if sending.SocketError <> SocketError.Success then
                    isOver <- true
                    connection.Sent sending.SocketError

    member private connection.OnReceived() =
        if connection.Receive(receiving.SocketError, receiving.BytesTransferred) then
            connection.ReceiveAll()

    // A connection's first operation on this side is to connect.
    member private connection.OnSent() =
        match sending.LastOperation, sending.SocketError with
        | SocketAsyncOperation.Connect, error -> connection.OnConnected error
        | _, error ->
            written <- written + int64 sending.BytesTransferred

            if error = SocketError.Success then
                connection.SendMore()
            else
                connection.Sent error

    // As nothing else ends an exchange whose request is being sent, it is still the same one.
    member private connection.SendMore() =
        match state.Attempt with
        | null -> ()
        | current -> connection.SendAll(current.Request, state.Exchange)

    member private connection.OnConnected(error: SocketError) =
        connection.Perform(exclusively gate (fun () -> state.Connected error |> timed))

        if error = SocketError.Success then
            connection.SendMore()
            connection.ReceiveAll()

    override connection.Connect(first: Attempt) : unit =
        sending.Completed.Add(fun _ -> connection.OnSent())
        receiving.Completed.Add(fun _ -> connection.OnReceived())
        sending.RemoteEndPoint <- endpoint

        exclusively gate (fun () ->
            beginWith first
            state.Connecting()
            timer.Start(state.Deadline, (fun () -> connection.Perform(exclusively gate expire))))

        let isPending =
            try
                socket.ConnectAsync sending
            // The attempt has been given up meanwhile.
            with :? ObjectDisposedException ->
                sending.SocketError <- SocketError.OperationAborted
                false

        if not isPending then
            connection.OnConnected sending.SocketError

    override connection.TryBegin(next: Attempt) : bool =
        let isQuiet = not (hasUnread ())

        let exchange =
            exclusively gate (fun () ->
                if isQuiet && state.Phase = ConnectionPhase.Idle && not (state.IsDue()) then
                    beginWith next
                    Effect.Only Sequel.Nothing |> timed |> ignore
                    ValueSome state.Exchange
                else
                    ValueNone)

        match exchange with
        | ValueSome exchange -> connection.SendAll(next.Request, exchange)
        | ValueNone -> ()

        exchange.IsSome

    override connection.Cancel() : unit =
        connection.Perform(exclusively gate (fun () -> state.Cancel() |> timed))

    override connection.CloseUnlessBusy() : unit =
        connection.Perform(exclusively gate (fun () -> state.CloseUnlessBusy() |> timed))

    override _.IsClosed = exclusively gate (fun () -> state.Phase = ConnectionPhase.Closed)
