namespace K8sReq.Proxy

open System
open System.Net.Sockets
open K8sReq.Core

/// What a connection is at.
[<RequireQualifiedAccess; Struct>]
type ConnectionPhase =
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
type Sequel =
    | Nothing
    /// Nothing is sent over it: it can be used again.
    | Return
    /// What the system still does with it is to end at once, and to come back as failed.
    | Abort
    /// It has ended, for good. Said once.
    | Close

/// What came of something that happened to a connection.
[<Struct; NoEquality; NoComparison>]
type Effect = {
    Sequel: Sequel
    /// The attempt that has ended by it, if one has.
    Ended: Attempt | null
    Result: SendResult
    /// See `ConnectionOwner.Ended`.
    MayRepeat: bool
} with

    static member Only(sequel: Sequel) : Effect = {
        Sequel = sequel
        Ended = null
        Result = Unchecked.defaultof<SendResult>
        MayRepeat = false
    }

/// What is known of one HTTP/1.1 connection, and what follows from what happens to it: a machine without a socket. Each
/// attempt that it is given ends once. It is used again until `retiresAt` on the clock. One thread at a time.
[<Sealed>]
type ConnectionState(clock: TimeProvider, timeouts: SendTimeouts, retiresAt: TimeSpan) =
    // A target's answer is read up to here so that its connection can be used again; beyond, the connection is closed.
    static let longestDrain = (TimeSpan.FromSeconds 2.0).Ticks
    static let largestDrain = 256 * 1024
    // A connection that a target's idle limit (60 s and more are usual) is about to end is not worth keeping.
    static let longestIdle = (TimeSpan.FromSeconds 45.0).Ticks
    // A target that ends connections which it does not use does so after a second (nginx's shortest time) or later.
    static let longRest = TimeSpan.TicksPerSecond
    static let usualAnswer = 2048
    // Interim answers (RFC 9110 section 15.2) are told apart from nothing by nobody here: a few are usual, many are an attack.
    static let mostInterims = 16
    // A head shorter than this is read again with each piece of it that comes, so that what is no HTTP is known at once.
    static let shortHead = 64

    // Connections that are idle end in groups, once a second: the end of a timer wakes three threads, which costs as much as a request.
    static let endOfSecond (time: int64) =
        (time + TimeSpan.TicksPerSecond - 1L) / TimeSpan.TicksPerSecond
        * TimeSpan.TicksPerSecond

    let mutable phase = ConnectionPhase.Busy
    let mutable isUsed = false
    // Nothing can be sent over it any more.
    let mutable isBroken = false

    // The exchange that is under way, counted.
    let mutable exchange = 0
    let mutable attempt: Attempt | null = null
    let mutable sendPhase = SendPhase.Done
    let mutable outcome: TargetOutcome voption = ValueNone
    let mutable retryAfter: TimeSpan voption = ValueNone
    let mutable hasAnswer = false
    // Nothing of this exchange's request can have been taken by the target.
    let mutable isUntaken = false
    // The request was not sent to its last byte, and will not be.
    let mutable isCut = false
    // Sending has failed in a way that says nothing of what the target has taken.
    let mutable isSendUnclear = false

    let mutable received = GC.AllocateUninitializedArray<byte> usualAnswer
    // How many bytes of it belong to a head that has not come whole.
    let mutable filled = 0
    // Up to where it was looked for the head's end.
    let mutable searched = 0
    let mutable interims = 0
    let mutable body = AnswerBody.start AnswerFraming.NoBody
    let mutable keepsAlive = true
    let mutable drained = 0

    // Times on the clock are in ticks: comparing two TimeSpans as F# does boxes both, for each event of a connection.
    let writeTimeout = timeouts.Write.Ticks
    let readTimeout = timeouts.Read.Ticks
    let retiresAt = retiresAt.Ticks
    let mutable idleSince = 0L
    let mutable hadRested = false
    // When what it is at has taken too long.
    let mutable deadline = Int64.MaxValue

    let now () = (clock.GetElapsedTime 0L).Ticks

    let close () =
        phase <- ConnectionPhase.Closed
        deadline <- Int64.MaxValue
        Sequel.Close

    // After an exchange, or when more of its answer has come.
    let rest () : Sequel =
        if
            isBroken
            || body.Phase = BodyPhase.Broken
            || (body.Phase = BodyPhase.Complete && not keepsAlive)
        then
            close ()
        elif body.Phase = BodyPhase.Complete then
            let time = now ()

            // Between two exchanges: nothing is lost by it.
            if time >= retiresAt then
                close ()
            else
                phase <- ConnectionPhase.Idle
                idleSince <- time
                deadline <- endOfSecond (min retiresAt (time + longestIdle))
                Sequel.Return
        else
            if phase <> ConnectionPhase.Draining then
                phase <- ConnectionPhase.Draining
                deadline <- now () + longestDrain

            Sequel.Nothing

    let isSendFailed (outcome: TargetOutcome) =
        match outcome with
        | TargetOutcome.SendFailed _ -> true
        | _ -> false

    // The target has answered 2xx and the request is still being sent: it is delivered only if all of it is.
    let isEarly () =
        sendPhase <> SendPhase.Done
        && (match outcome with
            | ValueSome known -> TargetOutcome.isDelivered known
            | ValueNone -> false)

    // An exchange has ended once what became of it is known and nobody reads the request any more.
    let settle () : Effect =
        match attempt with
        | null -> Effect.Only Sequel.Nothing
        | ended ->
            match outcome with
            | ValueNone -> Effect.Only Sequel.Nothing
            | ValueSome known when sendPhase = SendPhase.Done ->
                let mayRepeat = isUsed && not hasAnswer && isUntaken && isSendFailed known
                attempt <- null
                isUsed <- true

                {
                    Sequel = rest ()
                    Ended = ended
                    Result = {
                        Outcome = known
                        RetryAfter = retryAfter
                        IsAttempt = true
                    }
                    MayRepeat = mayRepeat
                }
            | ValueSome _ when isEarly () -> Effect.Only Sequel.Nothing
            | ValueSome _ when isBroken || sendPhase = SendPhase.Pending ->
                // The socket is disposed of outside of the lock, perhaps after the send has completed: the connection must not
                // be given to another exchange meanwhile.
                isBroken <- true
                Effect.Only Sequel.Abort
            | ValueSome _ -> Effect.Only Sequel.Nothing

    let fail (reason: TargetOutcome) =
        if outcome.IsNone || isEarly () then
            outcome <- ValueSome reason

        isBroken <- true

    // A 2xx to a part of the request is no delivery.
    let answeredUnread =
        TargetOutcome.SendFailed "the target answered 2xx, but did not take the request to its end"

    // Bytes of the body, or after it.
    let drain (bytes: ReadOnlySpan<byte>) =
        let struct (state, taken) = AnswerBody.feed bytes body
        body <- state
        drained <- drained + bytes.Length

        // More than was announced, or more than is worth it.
        if taken < bytes.Length || drained > largestDrain then
            isBroken <- true

        // An answer that is more than one may be that of another request.
        if taken < bytes.Length && body.Phase = BodyPhase.Complete && isEarly () then
            fail (TargetOutcome.BadAnswer "it is followed by more, while the request is being sent")

    // Whether it is worth reading what there is from `start` on: a head that comes in many pieces is not read from its
    // beginning for each of them.
    let mayBeWhole (start: int) =
        let from = max start (searched - 3)
        let recent = ReadOnlySpan(received, from, filled - from)
        searched <- filled
        let length = filled - start

        length < shortHead
        || length >= AnswerHead.Longest
        || recent.IndexOf "\n\r\n"B >= 0
        || recent.IndexOf "\n\n"B >= 0

    let goOn (start: int) =
        let length = filled - start

        if start > 0 then
            Buffer.BlockCopy(received, start, received, 0, length)
            filled <- length
            searched <- searched - start
        elif filled = received.Length then
            Array.Resize(&received, 2 * received.Length)

    // From there in what was received, up to `filled`, is a head, or its beginning.
    let rec readHead (start: int) (isHeadRequest: bool) =
        if mayBeWhole start then
            parseHead start isHeadRequest
        else
            goOn start

    and parseHead (start: int) (isHeadRequest: bool) =
        let bytes = ReadOnlySpan(received, start, filled - start)

        match AnswerHead.read isHeadRequest bytes with
        | HeadReading.NoHttp reason -> fail (TargetOutcome.BadAnswer reason)
        | HeadReading.Complete head when head.Status < 200 && interims = mostInterims ->
            fail (TargetOutcome.BadAnswer $"it has more than {mostInterims} interim answers before it")
        // Interim answers come before the answer (RFC 9110 section 15.2).
        | HeadReading.Complete head when head.Status < 200 && head.Status <> 101 ->
            interims <- interims + 1
            searched <- start + head.Length
            readHead (start + head.Length) isHeadRequest
        | HeadReading.Complete head ->
            let answered = TargetOutcome.ofStatus head.Status

            outcome <-
                ValueSome(
                    if isCut && TargetOutcome.isDelivered answered then
                        answeredUnread
                    else
                        answered
                )

            match head.RetryAfter with
            | null -> ()
            | value -> retryAfter <- RetryAfter.tryParse (clock.GetUtcNow()) value

            keepsAlive <- head.KeepsAlive
            body <- AnswerBody.start head.Framing
            filled <- 0
            drain (bytes.Slice head.Length)
        | HeadReading.Incomplete -> goOn start

    // The attempt is not to go on: for this reason, if nothing else has ended it before.
    let giveUp (reason: TargetOutcome) : Effect =
        if outcome.IsSome && not (isEarly ()) then
            Effect.Only Sequel.Nothing
        else
            fail reason
            settle ()

    member _.Phase = phase

    /// On the clock, in ticks: when `Expire` is to be called. It changes with what happens.
    member _.Deadline: int64 = deadline

    /// Whether the connection has been idle for so long that the target may end it for that reason, or say something first.
    member _.HasRested() : bool = now () - idleSince >= longRest

    /// Whether it had been so before this attempt.
    member _.HadRested = hadRested

    /// The deadline has come: an idle connection is about to be closed.
    member _.IsDue() : bool = now () >= deadline

    /// Where to put what is received next.
    member _.Space: ArraySegment<byte> =
        ArraySegment(received, filled, received.Length - filled)

    /// How many attempts there have been.
    member _.Exchange = exchange

    /// The attempt that is under way.
    member _.Attempt: Attempt | null = attempt

    /// The next attempt begins: its request is being sent. For a connection that is new or idle.
    member _.Begin(next: Attempt) : unit =
        let time = now ()
        hadRested <- isUsed && time - idleSince >= longRest
        phase <- ConnectionPhase.Busy
        sendPhase <- SendPhase.Calling
        exchange <- exchange + 1
        attempt <- next
        outcome <- ValueNone
        retryAfter <- ValueNone
        hasAnswer <- false
        isUntaken <- false
        isSendUnclear <- false
        isCut <- false
        filled <- 0
        searched <- 0
        interims <- 0
        drained <- 0
        keepsAlive <- true
        body <- AnswerBody.start AnswerFraming.NoBody
        deadline <- min next.EndsBy.Ticks (time + writeTimeout)

    /// The connection is not made yet; `Connected` tells.
    member _.Connecting() : unit = sendPhase <- SendPhase.Pending

    member _.Connected(error: SocketError) : Effect =
        if error = SocketError.Success then
            sendPhase <- SendPhase.Calling
            Effect.Only Sequel.Nothing
        else
            sendPhase <- SendPhase.Done
            fail (TargetOutcome.ConnectFailed(SocketException(int error).Message))
            settle ()

    /// What was to be sent for this exchange waits; `Sent` tells, if it has not done so already.
    member _.SendIsPending(ofExchange: int) : Effect =
        if exchange = ofExchange && sendPhase = SendPhase.Calling then
            sendPhase <- SendPhase.Pending
            settle ()
        else
            Effect.Only Sequel.Nothing

    /// All of the request has been sent, or no more of it will be. `wroteNothing`: the system has taken no byte of it.
    member _.Sent(error: SocketError, wroteNothing: bool) : Effect =
        if error = SocketError.Success then
            sendPhase <- SendPhase.Done

            match attempt with
            | null -> ()
            | current ->
                if outcome.IsNone then
                    deadline <- min current.EndsBy.Ticks (now () + readTimeout)
        else
            isCut <- true

            if isEarly () then
                fail answeredUnread

            sendPhase <- SendPhase.Done
            // The answer may be on its way all the same; if not, the receiving side finds that out.
            isBroken <- true

            if wroteNothing then
                isUntaken <- true
            // A reset throws away what the target had not acknowledged yet, read or not. A broken pipe is what comes when
            // the target had closed its side before.
            elif error <> SocketError.Shutdown && error <> SocketError.OperationAborted then
                isSendUnclear <- true

        settle ()

    /// So many bytes have been received into `Space`.
    member _.Took(count: int) : Effect =
        match phase with
        | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing
        // Nobody has asked.
        | ConnectionPhase.Idle -> Effect.Only(close ())
        | ConnectionPhase.Draining ->
            drain (ReadOnlySpan(received, 0, count))
            Effect.Only(rest ())
        | ConnectionPhase.Busy ->
            hasAnswer <- true

            match attempt with
            | null -> drain (ReadOnlySpan(received, 0, count))
            | current ->
                if outcome.IsNone then
                    filled <- filled + count
                    readHead 0 current.Request.IsHead
                else
                    drain (ReadOnlySpan(received, 0, count))

            settle ()

    /// Whether what comes next is the first of an answer, on a connection that had others before.
    member _.AwaitsNextAnswer =
        isUsed && not hasAnswer && phase = ConnectionPhase.Busy && outcome.IsNone

    /// Bytes have come that are no answer to the request of this exchange: the target's system had none of it yet. Whose
    /// answer they are is not known, nor whether those of before were what they seemed.
    member _.TookUnasked() : Effect =
        hasAnswer <- true
        fail (TargetOutcome.SendFailed "the target sent something before it had the request")
        settle ()

    /// Nothing more will come: the target has closed its side, or this error has ended it. `acknowledgedNothing`: the
    /// target's system has acknowledged no byte of this exchange's request. As the segment that closes a side carries the
    /// acknowledgement of all that came before it, the target has then closed without having had any of the request. Of a
    /// reset that cannot be said: it acknowledges nothing.
    member _.InputEnded(error: SocketError, acknowledgedNothing: bool) : Effect =
        match phase with
        | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing
        | ConnectionPhase.Idle
        | ConnectionPhase.Draining -> Effect.Only(close ())
        // It has answered and sends no more; it may read on.
        | ConnectionPhase.Busy when error = SocketError.Success && isEarly () ->
            isBroken <- true
            Effect.Only Sequel.Nothing
        | ConnectionPhase.Busy ->
            if error = SocketError.Success && acknowledgedNothing && not isSendUnclear then
                isUntaken <- true

            fail (
                TargetOutcome.SendFailed(
                    if error = SocketError.Success then
                        "the target closed the connection"
                    else
                        SocketException(int error).Message
                )
            )

            settle ()

    /// To be called when the deadline may have come.
    member _.Expire() : Effect =
        if now () < deadline then
            Effect.Only Sequel.Nothing
        else
            deadline <- Int64.MaxValue

            match phase with
            | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing
            | ConnectionPhase.Busy ->
                giveUp (
                    TargetOutcome.TimedOut(
                        if sendPhase = SendPhase.Done then
                            TimeoutPhase.Answering
                        else
                            TimeoutPhase.Sending
                    )
                )
            | ConnectionPhase.Idle
            | ConnectionPhase.Draining -> Effect.Only(close ())

    /// The attempt that is under way is given up.
    member _.Cancel() : Effect =
        match attempt with
        | null -> Effect.Only Sequel.Nothing
        | _ -> giveUp TargetOutcome.Cancelled

    /// It ends if no attempt is under way.
    member _.CloseUnlessBusy() : Effect =
        match phase with
        | ConnectionPhase.Idle
        | ConnectionPhase.Draining -> Effect.Only(close ())
        | ConnectionPhase.Busy
        | ConnectionPhase.Closed -> Effect.Only Sequel.Nothing
