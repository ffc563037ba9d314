namespace K8sReq.Host.Proxy

open System
open System.Buffers
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices
open System.Threading
open K8sReq.Core

/// What a connection is at.
[<RequireQualifiedAccess; Struct>]
type private ConnectionPhase =
    /// Connecting, or sending a request, or waiting for the head of its answer.
    | Busy
    /// What is left of an answer is read, and thrown away.
    | Draining
    | Idle
    | Closed

[<RequireQualifiedAccess; Struct>]
type private SendPhase =
    /// The system has been asked, and has not said yet whether it does so at once.
    | Calling
    /// Somebody will be told when it is done.
    | Pending
    | Done

/// What is to be done with a connection.
[<RequireQualifiedAccess; Struct>]
type private Sequel =
    | Nothing
    | Return
    | Abort
    | Close

/// What came of something that happened to a connection.
[<Struct; NoEquality; NoComparison>]
type private Effect = {
    Sequel: Sequel
    /// The attempt that has ended by it, if one has.
    Ended: Attempt | null
    Result: SendResult
    MayRepeat: bool
} with

    static member Only(sequel: Sequel) : Effect = {
        Sequel = sequel
        Ended = null
        Result = Unchecked.defaultof<SendResult>
        MayRepeat = false
    }

/// Who made a connection and keeps it while nothing is sent over it. Called outside of the connection's lock.
type ConnectionOwner =
    /// It can be used again.
    abstract Returned: TargetConnection -> unit
    /// It is closed, for good.
    abstract Closed: TargetConnection -> unit
    /// An attempt has ended. Whether it may be repeated at once: the connection had served another one before, and was
    /// closed before a byte of an answer came. That says nothing of the target (RFC 9112 section 9.3.1).
    abstract Ended: Attempt * SendResult * mayRepeat: bool -> unit

/// One HTTP/1.1 connection to a target: one request at a time, no pipelining. Something is always being received, so
/// that a connection which its target closes is known to be closed before it is used again.
///
/// Its methods can be called from any thread. What they find out is decided under one lock and done outside of it.
and [<Sealed>] TargetConnection
    (clock: TimeProvider, timeouts: SendTimeouts, endpoint: IPEndPoint, owner: ConnectionOwner) =
    // A target's answer is read up to here so that its connection can be used again; beyond, the connection is closed.
    static let longestDrain = TimeSpan.FromSeconds 2.0
    static let largestDrain = 256 * 1024
    // A connection that a target's idle limit (60 s and more are usual) is about to end is not worth keeping.
    static let longestIdle = TimeSpan.FromSeconds 45.0
    static let usualAnswer = 2048

    let socket =
        new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

    // The execution context is of no use to what comes after.
    let sending = new SocketAsyncEventArgs(true)
    let receiving = new SocketAsyncEventArgs(true)
    let gate = Lock()
    let mutable phase = ConnectionPhase.Busy
    let mutable isUsed = false
    // Nothing can be sent over it any more.
    let mutable isBroken = false

    // The exchange that is under way, counted.
    let mutable exchange = 0
    let mutable attempt: Attempt | null = null
    let mutable sendPhase = SendPhase.Done
    let mutable unsent = SequencePosition()
    let mutable outcome: TargetOutcome voption = ValueNone
    let mutable retryAfter: TimeSpan voption = ValueNone
    let mutable hasAnswer = false

    let mutable received = GC.AllocateUninitializedArray<byte> usualAnswer
    // How many bytes of it belong to a head that has not come whole.
    let mutable filled = 0
    let mutable body = AnswerBody.start AnswerFraming.NoBody
    let mutable keepsAlive = true
    let mutable drained = 0

    // One timer, set anew only for an earlier time: most sends end long before theirs.
    let mutable timer: ITimer | null = null
    let mutable timerEndsAt = TimeSpan.MaxValue
    let mutable deadline = TimeSpan.MaxValue

    let now () = clock.GetElapsedTime 0L

    // This and what follows, up to the members, is to be called under the lock.
    let setTimer (time: TimeSpan) =
        match timer with
        | null -> ()
        | timer ->
            timerEndsAt <- time

            timer.Change(max TimeSpan.Zero (time - now ()), Timeout.InfiniteTimeSpan)
            |> ignore

    let endBy (time: TimeSpan) =
        deadline <- time

        if time < timerEndsAt then
            setTimer time

    // After an exchange, or when more of its answer has come.
    let rest () : Sequel =
        if
            isBroken
            || body.Phase = BodyPhase.Broken
            || (body.Phase = BodyPhase.Complete && not keepsAlive)
        then
            phase <- ConnectionPhase.Closed
            Sequel.Close
        elif body.Phase = BodyPhase.Complete then
            phase <- ConnectionPhase.Idle
            endBy (now () + longestIdle)
            Sequel.Return
        else
            if phase <> ConnectionPhase.Draining then
                phase <- ConnectionPhase.Draining
                endBy (now () + longestDrain)

            Sequel.Nothing

    let isSendFailed (outcome: TargetOutcome) =
        match outcome with
        | TargetOutcome.SendFailed _ -> true
        | _ -> false

    // An exchange has ended once what became of it is known and nobody reads the request any more.
    let settle () : Effect =
        match attempt, outcome with
        | NonNull ended, ValueSome known when sendPhase = SendPhase.Done ->
            let mayRepeat = isUsed && not hasAnswer && isSendFailed known
            attempt <- null
            isUsed <- true

            {
                Sequel = rest ()
                Ended = ended
                Result = {
                    Outcome = known
                    RetryAfter = retryAfter
                }
                MayRepeat = mayRepeat
            }
        | NonNull _, ValueSome _ when isBroken || sendPhase = SendPhase.Pending -> Effect.Only Sequel.Abort
        | _ -> Effect.Only Sequel.Nothing

    let fail (reason: TargetOutcome) =
        isBroken <- true

        if outcome.IsNone then
            outcome <- ValueSome reason

    // Bytes of the body, or after it.
    let drain (bytes: ReadOnlySpan<byte>) =
        let struct (state, taken) = AnswerBody.feed bytes body
        body <- state
        drained <- drained + bytes.Length

        // More than was announced, or more than is worth it.
        if taken < bytes.Length || drained > largestDrain then
            isBroken <- true

    // From there in what was received, up to `filled`, is a head, or its beginning.
    let rec readHead (start: int) (isHeadRequest: bool) =
        let bytes = ReadOnlySpan(received, start, filled - start)

        match AnswerHead.read isHeadRequest bytes with
        | HeadReading.NoHttp reason -> fail (TargetOutcome.BadAnswer reason)
        // Interim answers come before the answer (RFC 9110 section 15.2).
        | HeadReading.Complete head when head.Status < 200 && head.Status <> 101 ->
            readHead (start + head.Length) isHeadRequest
        | HeadReading.Complete head ->
            outcome <- ValueSome(TargetOutcome.ofStatus head.Status)

            match head.RetryAfter with
            | null -> ()
            | value -> retryAfter <- RetryAfter.tryParse (clock.GetUtcNow()) value

            keepsAlive <- head.KeepsAlive
            body <- AnswerBody.start head.Framing
            filled <- 0
            drain (bytes.Slice head.Length)
        | HeadReading.Incomplete ->
            filled <- bytes.Length

            if start > 0 then
                Buffer.BlockCopy(received, start, received, 0, filled)
            elif filled = received.Length then
                Array.Resize(&received, 2 * received.Length)

    let close () =
        phase <- ConnectionPhase.Closed
        Effect.Only Sequel.Close

    let took (count: int) : Effect =
        match phase with
        | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing
        // Nobody has asked.
        | ConnectionPhase.Idle -> close ()
        | ConnectionPhase.Draining ->
            drain (ReadOnlySpan(received, 0, count))
            Effect.Only(rest ())
        | ConnectionPhase.Busy ->
            hasAnswer <- true

            match attempt with
            | NonNull current when outcome.IsNone ->
                filled <- filled + count
                readHead 0 current.Request.IsHead
            | _ -> drain (ReadOnlySpan(received, 0, count))

            settle ()

    // Nothing more will come.
    let inputEnded (error: SocketError) : Effect =
        match phase with
        | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing
        | ConnectionPhase.Idle
        | ConnectionPhase.Draining -> close ()
        | ConnectionPhase.Busy ->
            fail (
                TargetOutcome.SendFailed(
                    if error = SocketError.Success then
                        "the target closed the connection"
                    else
                        SocketException(int error).Message
                )
            )

            settle ()

    // All of the request has been sent, or no more of it will be.
    let sent (error: SocketError) : Effect =
        sendPhase <- SendPhase.Done

        match attempt with
        | NonNull current when error = SocketError.Success && outcome.IsNone ->
            endBy (min current.EndsBy (now () + timeouts.Read))
        | _ when error = SocketError.Success -> ()
        // The answer may be on its way all the same; if not, the receiving side finds that out.
        | _ -> isBroken <- true

        settle ()

    let connected (error: SocketError) : Effect =
        if error = SocketError.Success then
            Effect.Only Sequel.Nothing
        else
            sendPhase <- SendPhase.Done
            fail (TargetOutcome.ConnectFailed(SocketException(int error).Message))
            settle ()

    // The attempt is not to go on: for this reason, if nothing else has ended it before.
    let giveUp (reason: TargetOutcome) : Effect =
        if outcome.IsSome then
            Effect.Only Sequel.Nothing
        else
            fail reason
            settle ()

    let expired () : Effect =
        timerEndsAt <- TimeSpan.MaxValue

        if phase = ConnectionPhase.Closed then
            Effect.Only Sequel.Nothing
        elif now () < deadline then
            setTimer deadline
            Effect.Only Sequel.Nothing
        elif phase = ConnectionPhase.Busy then
            giveUp (
                TargetOutcome.TimedOut(
                    if sendPhase = SendPhase.Done then
                        TimeoutPhase.Answering
                    else
                        TimeoutPhase.Sending
                )
            )
        else
            close ()

    let load (next: Attempt) =
        phase <- ConnectionPhase.Busy
        exchange <- exchange + 1
        attempt <- next
        unsent <- next.Request.Wire.Start
        outcome <- ValueNone
        retryAfter <- ValueNone
        hasAnswer <- false
        filled <- 0
        drained <- 0
        keepsAlive <- true
        body <- AnswerBody.start AnswerFraming.NoBody
        min next.EndsBy (now () + timeouts.Write)

    member private _.Release() =
        socket.Dispose()
        sending.Dispose()
        receiving.Dispose()

        match timer with
        | null -> ()
        | timer -> timer.Dispose()

    // Outside of the lock. The connection first: whoever waits for a turn can use it then.
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
            connection.Perform(lock gate (fun () -> took count))
            true
        else
            connection.Perform(lock gate (fun () -> inputEnded error))
            false

    // Until there is nothing to receive at the moment. One flow of code at a time does this.
    member private connection.ReceiveAll() =
        let mutable isOver = false

        while not isOver do
            try
                receiving.SetBuffer(received, filled, received.Length - filled)

                isOver <-
                    socket.ReceiveAsync receiving
                    || not (connection.Receive(receiving.SocketError, receiving.BytesTransferred))
            with :? ObjectDisposedException ->
                connection.Receive(SocketError.OperationAborted, 0) |> ignore
                isOver <- true

    member private connection.Sent(error: SocketError) =
        connection.Perform(lock gate (fun () -> sent error))

    // One piece after the other. Most of the time the system takes each at once, and nothing waits.
    member private connection.SendAll(request: CapturedRequest, sentOver: int) =
        let mutable isOver = false
        let mutable piece = ReadOnlyMemory<byte>()

        while not isOver do
            if not (request.Wire.TryGet(&unsent, &piece, true)) then
                isOver <- true
                connection.Sent SocketError.Success
            else
                try
                    sending.SetBuffer(MemoryMarshal.AsMemory piece)

                    if socket.SendAsync sending then
                        isOver <- true

                        lock gate (fun () ->
                            // Unless it has been sent meanwhile, and something else is under way.
                            if exchange = sentOver && sendPhase = SendPhase.Calling then
                                sendPhase <- SendPhase.Pending
                                settle ()
                            else
                                Effect.Only Sequel.Nothing)
                        |> connection.Perform
                    elif sending.SocketError <> SocketError.Success then
                        isOver <- true
                        connection.Sent sending.SocketError
                with :? ObjectDisposedException ->
                    isOver <- true
                    connection.Sent SocketError.OperationAborted

    member private connection.OnReceived() =
        if connection.Receive(receiving.SocketError, receiving.BytesTransferred) then
            connection.ReceiveAll()

    // A connection's first operation on this side is to connect.
    member private connection.OnSent() =
        match sending.LastOperation, sending.SocketError with
        | SocketAsyncOperation.Connect, error -> connection.OnConnected error
        | _, SocketError.Success ->
            match attempt with
            | null -> ()
            | current -> connection.SendAll(current.Request, exchange)
        | _, error -> connection.Sent error

    member private connection.OnConnected(error: SocketError) =
        connection.Perform(lock gate (fun () -> connected error))

        match attempt with
        | NonNull current when error = SocketError.Success ->
            lock gate (fun () -> sendPhase <- SendPhase.Calling)
            connection.SendAll(current.Request, exchange)
            connection.ReceiveAll()
        | _ -> ()

    /// Connects, and sends the attempt's request. To be called once, before anything else.
    member connection.Connect(first: Attempt) : unit =
        sending.Completed.Add(fun _ -> connection.OnSent())
        receiving.Completed.Add(fun _ -> connection.OnReceived())
        sending.RemoteEndPoint <- endpoint

        lock gate (fun () ->
            deadline <- load first
            sendPhase <- SendPhase.Pending
            timerEndsAt <- deadline

            // The context of the request that happens to be the first is not to live as long as the connection.
            use _ = ExecutionContext.SuppressFlow()

            let onTime = TimerCallback(fun _ -> connection.Perform(lock gate expired))

            timer <-
                clock.CreateTimer(
                    onTime,
                    connection,
                    max TimeSpan.Zero (deadline - now ()),
                    Timeout.InfiniteTimeSpan
                ))

        let isPending =
            try
                socket.ConnectAsync sending
            with :? ObjectDisposedException ->
                true

        if not isPending then
            connection.OnConnected sending.SocketError

    /// Sends the attempt's request, unless the connection is not idle any more.
    member connection.TryBegin(next: Attempt) : bool =
        let isMine =
            lock gate (fun () ->
                if phase = ConnectionPhase.Idle then
                    endBy (load next)
                    sendPhase <- SendPhase.Calling
                    true
                else
                    false)

        if isMine then
            connection.SendAll(next.Request, exchange)

        isMine

    /// Gives up the attempt that is under way, if one is.
    member connection.Cancel() : unit =
        lock gate (fun () ->
            match attempt with
            | null -> Effect.Only Sequel.Nothing
            | _ -> giveUp TargetOutcome.Cancelled)
        |> connection.Perform

    /// Closes the connection if no attempt is under way on it.
    member connection.CloseUnlessBusy() : unit =
        lock gate (fun () ->
            match phase with
            | ConnectionPhase.Idle
            | ConnectionPhase.Draining -> close ()
            | ConnectionPhase.Busy
            | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing)
        |> connection.Perform

    member _.IsClosed = lock gate (fun () -> phase = ConnectionPhase.Closed)
