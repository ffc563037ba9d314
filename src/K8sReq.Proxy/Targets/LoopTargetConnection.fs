namespace K8sReq.Proxy

open System
open System.Buffers
open System.Net
open System.Net.Sockets
open K8sReq.Core

[<RequireQualifiedAccess; Struct>]
type private OutputPhase =
    | Connecting
    /// The system takes no more at the moment: the loop tells when it does.
    | Full
    | Free

/// A connection on an event loop. Everything but `Cancel` and `CloseUnlessBusy` is called on it, and everything happens there.
[<Sealed>]
type LoopTargetConnection
    (
        loop: EventLoop,
        clock: TimeProvider,
        timeouts: SendTimeouts,
        retiresAt: TimeSpan,
        endpoint: IPEndPoint,
        owner: ConnectionOwner
    ) =
    inherit TargetConnection()

    // Bytes that are received before other connections have their turn.
    static let mostAtOnce = 128 * 1024

    // The start of an answer that says that the copy was taken.
    static let success = "HTTP/1.1 2"B

    static let watched =
        Events.readable
        ||| Events.writable
        ||| Events.inputEnded
        ||| Events.edgeTriggered

    // -1 once it is closed.
    let mutable descriptor =
        match Libc.openSocket endpoint.AddressFamily with
        | Ok descriptor ->
            Libc.noDelay descriptor
            descriptor
        | Error error -> raise (SocketException(int error))

    let tcpInfo = GC.AllocateUninitializedArray<byte> 128
    let state = ConnectionState(loop.ClockOfTurns clock, timeouts, retiresAt)
    // Nothing waits for a connection that is not begun.
    let mutable output = OutputPhase.Free
    // What has not been sent of the request. Nothing is written as zeroes, which is less than to copy `Empty`.
    let mutable unsent = Unchecked.defaultof<ReadOnlySequence<byte>>
    // Bytes that the system has taken to send over this connection, and how many those were before this exchange.
    let mutable written = 0L
    let mutable writtenBefore = 0L
    // The system has told that no more will come, or that something has failed: what is there is received to its end.
    let mutable isInputEnding = false
    // There is more to receive, and its turn comes.
    let mutable isReceiving = false
    // To be set after anything that has happened.
    let timer = DeadlineTimer clock

    // What happens next is waited for without patience, unless the connection is free.
    let setOutput (next: OutputPhase) =
        if output = OutputPhase.Free && next <> OutputPhase.Free then
            loop.Patience.Pressed()
        elif output <> OutputPhase.Free && next = OutputPhase.Free then
            loop.Patience.Calmed()

        output <- next

    let beginWith (next: Attempt) =
        unsent <- next.Request.Wire
        writtenBefore <- written
        state.Begin next
        loop.Patience.Sent()

    let close () =
        if descriptor >= 0 then
            let closing = descriptor
            descriptor <- -1
            loop.CloseTarget closing

    let hasAcknowledgedNothing () =
        descriptor >= 0
        && TcpInfo.descriptorHasAcknowledgedNothingAfter tcpInfo writtenBefore descriptor

    // The connection first: the next copy can use it then.
    member private connection.Perform(effect: Effect) =
        timer.Set state.Deadline

        match effect.Sequel with
        | Sequel.Nothing -> ()
        | Sequel.Return -> owner.Returned connection
        | Sequel.Abort -> connection.Abort()
        | Sequel.Close ->
            close ()
            timer.Stop()
            owner.Closed connection

        match effect.Ended with
        | null -> ()
        | ended ->
            loop.Patience.Ended()
            owner.Ended(ended, effect.Result, effect.MayRepeat)

    // What the system was still to do has failed with it.
    member private connection.Abort() =
        close ()
        let before = output
        setOutput OutputPhase.Free
        unsent <- Unchecked.defaultof<_>

        match before with
        | OutputPhase.Connecting -> connection.Perform(state.Connected SocketError.OperationAborted)
        | OutputPhase.Full ->
            connection.Perform(state.Sent(SocketError.OperationAborted, (written = writtenBefore)))
        | OutputPhase.Free -> ()

        if before <> OutputPhase.Connecting then
            connection.Perform(state.InputEnded(SocketError.OperationAborted, false))

    member private connection.Sent(error: SocketError) =
        unsent <- Unchecked.defaultof<_>
        connection.Perform(state.Sent(error, (written = writtenBefore)))

    member private connection.SendAll() =
        let mutable isOver = false

        while not isOver do
            if descriptor < 0 then
                isOver <- true
            elif unsent.IsEmpty then
                isOver <- true
                connection.Sent SocketError.Success
            else
                let moved = Libc.sendPieces descriptor unsent

                match moved.Error with
                | SocketError.Success ->
                    written <- written + int64 moved.Count
                    unsent <- unsent.Slice(int64 moved.Count)
                | SocketError.WouldBlock ->
                    isOver <- true
                    setOutput OutputPhase.Full
                    connection.Perform(state.SendIsPending state.Exchange)
                | error ->
                    isOver <- true
                    connection.Sent error

    // The system is asked for what the target has acknowledged only where something else than an answer may have come: each
    // question is a call of the system, for each copy.
    member private connection.Received(bytes: ArraySegment<byte>) =
        if
            state.AwaitsNextAnswer
            && (state.HadRested || not (bytes.AsSpan().StartsWith(ReadOnlySpan success)))
            && hasAcknowledgedNothing ()
        then
            connection.Perform(state.TookUnasked())
        else
            connection.Perform(state.Took bytes.Count)

    member private connection.InputEnded(error: SocketError) =
        let acknowledgedNothing = error = SocketError.Success && hasAcknowledgedNothing ()
        connection.Perform(state.InputEnded(error, acknowledgedNothing))

    // Until there is nothing to receive at the moment, or others have waited for long enough.
    member private connection.ReceiveAll() =
        let mutable isOver = false
        let mutable left = mostAtOnce

        while not isOver do
            if descriptor < 0 then
                isOver <- true
            else
                let space = state.Space
                let moved = Libc.receive descriptor (space.AsSpan())

                match moved.Error with
                | SocketError.Success when moved.Count > 0 ->
                    left <- left - moved.Count
                    connection.Received(space.Slice(0, moved.Count))

                    // Less than there was space for is all there is; the end comes by itself.
                    if moved.Count < space.Count && not isInputEnding then
                        isOver <- true
                    elif left <= 0 && not isReceiving then
                        isOver <- true
                        isReceiving <- true

                        loop.Later(fun () ->
                            isReceiving <- false
                            connection.ReceiveAll())
                | SocketError.WouldBlock -> isOver <- true
                | error ->
                    isOver <- true
                    connection.InputEnded error

    member private connection.Connected() =
        let error = Libc.pendingError descriptor
        setOutput OutputPhase.Free
        connection.Perform(state.Connected error)

        if error = SocketError.Success then
            connection.SendAll()

    member private connection.Happened(events: int) : unit =
        if events &&& (Events.inputEnded ||| Events.hungUp ||| Events.failed) <> 0 then
            isInputEnding <- true

        // Until it is connected there is nothing to receive.
        match output with
        | OutputPhase.Connecting ->
            if events &&& (Events.writable ||| Events.failed ||| Events.hungUp) <> 0 then
                connection.Connected()
        | OutputPhase.Full ->
            if events &&& (Events.writable ||| Events.failed ||| Events.hungUp) <> 0 then
                setOutput OutputPhase.Free
                connection.SendAll()
        | OutputPhase.Free -> ()

        if
            output <> OutputPhase.Connecting
            && not isReceiving
            && (isInputEnding || events &&& Events.readable <> 0)
        then
            connection.ReceiveAll()

    member private connection.Expire() =
        timer.HasTold()
        connection.Perform(state.Expire())

    override connection.Connect(first: Attempt) : unit =
        beginWith first
        setOutput OutputPhase.Connecting
        state.Connecting()
        timer.Start(state.Deadline, (fun () -> loop.Post(fun () -> connection.Expire())))
        loop.WatchTarget(descriptor, watched, (fun events -> connection.Happened events))

        match Libc.connect descriptor endpoint with
        | SocketError.InProgress -> ()
        | SocketError.Success ->
            setOutput OutputPhase.Free
            connection.Perform(state.Connected SocketError.Success)
            connection.SendAll()
        | error ->
            setOutput OutputPhase.Free
            connection.Perform(state.Connected error)

    override connection.TryBegin(next: Attempt) : bool =
        if
            state.Phase = ConnectionPhase.Idle
            && not (state.IsDue())
            && not (state.HasRested() && Libc.hasUnread descriptor)
        then
            beginWith next
            timer.Set state.Deadline
            connection.SendAll()
            true
        else
            false

    override connection.Cancel() : unit =
        loop.Run(fun () -> connection.Perform(state.Cancel()))

    override connection.CloseUnlessBusy() : unit =
        loop.Run(fun () -> connection.Perform(state.CloseUnlessBusy()))

    override _.IsClosed = state.Phase = ConnectionPhase.Closed
