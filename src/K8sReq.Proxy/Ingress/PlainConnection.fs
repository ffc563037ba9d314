namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// What the plain connections of one loop share. Of the loop's thread alone.
[<Sealed>]
type internal PlainLoop(services: DuplicateServices, shares: ClientShares, limits: PlainLimits) =
    // A head with its body fits in, most of the time. What is larger is received into the request's own memory.
    static let scratchSize = 16 * 1024

    member val Scratch = GC.AllocateUninitializedArray<byte>(scratchSize, pinned = true)
    /// Where a body is received into, while it is.
    member val Spaces: ArraySegment<byte>[] = Array.zeroCreate Libc.mostPieces
    member val Answers = PlainAnswers services.Clock
    member val Via = ForwardHeaders.viaValue services.ViaName
    member val Connections = HashSet<PlainConnection>()
    member _.Services = services
    member _.Shares = shares
    member _.Limits = limits
    /// Whether the time for a body is too short to be left to the sweep, which comes once a second.
    member val LimitsBodyAtOnce = services.ReadTimeout < TimeSpan.FromSeconds 2.0
    /// No more requests are waited for.
    member val IsStopping = false with get, set
    /// Completed with the last connection, where somebody waits for that.
    member val Emptied: TaskCompletionSource | null = null with get, set

/// What a client may take of time, where it does not send a body (`DuplicateServices.ReadTimeout`).
and PlainLimits = {
    /// From the start of a connection to its first request.
    Headers: TimeSpan
    /// Between two requests.
    Idle: TimeSpan
}

and [<RequireQualifiedAccess; Struct>] internal PlainPhase =
    /// Between two requests.
    | Idle
    /// Of a request the head has come, and more of the body is to come.
    | Body
    /// The request is there; whether it is kept is not known yet.
    | Deciding
    /// The system takes no more of the response at the moment.
    | Answering
    /// The response to a request that was not read to its end has been sent: what the client still sends is thrown away for a
    /// while, for a connection that is closed over unread bytes takes the response with it.
    | Lingering
    /// Closed, or the server's.
    | Over

/// A client's connection on a loop, for as long as its requests are plain ones (`PlainHead`) that nothing speaks against: they
/// are received, copied and answered here. Whatever else comes is left, unread, to the server, and the connection with it. So
/// nothing here decides what is refused but what can be known only later: a body that does not come, or no room.
and [<Sealed>] internal PlainConnection(own: PlainLoop, client: LoopClient) as connection =
    static let mostAtOnce = 256 * 1024
    static let mostLingering = 64 * 1024
    static let longestLingering = 1000L
    // A response is a few hundred bytes: who does not take it in this time reads nothing.
    static let longestAnswering = 10_000L

    let services = own.Services

    let mutable phase = PlainPhase.Idle
    // Something has come that was not received.
    let mutable isReadable = false
    // The client sends no more, or something has failed: what is there is received to its end.
    let mutable isInputEnding = false
    // What came with a request that is not answered yet: the next ones.
    let mutable kept: byte[] = Array.Empty()
    let mutable hasHadRequest = false
    // The head of the request before, while one follows the other: most of its texts are those of the next one, too.
    let mutable before: RequestHead | null = null
    // Of `Environment.TickCount64`.
    let mutable since = Environment.TickCount64
    let mutable lingered = 0
    // What has not been sent of the response.
    let mutable unsent = ReadOnlyMemory<byte>.Empty
    let mutable closesAfter = false

    let request = PlainRequest(services, own.Via, own.Shares.Enter client.Remote)
    // Of the body that is waited for.
    let mutable timer: ITimer | null = null

    let stopTimer () =
        match timer with
        | null -> ()
        | running ->
            timer <- null
            running.Dispose()

    let leave () =
        phase <- PlainPhase.Over
        own.Connections.Remove connection |> ignore
        own.Shares.Leave client.Remote

        if own.Connections.Count = 0 then
            match own.Emptied with
            | null -> ()
            | waiting -> waiting.TrySetResult() |> ignore

    member private _.Close() =
        if phase <> PlainPhase.Over then
            stopTimer ()
            leave ()
            client.Close()

    member private _.GiveToServer(rest: byte[]) =
        leave ()
        client.GiveToServer rest

    // The response has been sent.
    member private connection.Answered(lingers: bool) =
        if lingers then
            phase <- PlainPhase.Lingering
            since <- Environment.TickCount64
            lingered <- 0
            Libc.endOutput client.Descriptor
        elif closesAfter then
            connection.Close()
        else
            phase <- PlainPhase.Idle
            since <- Environment.TickCount64

    member private connection.Answer(response: ReadOnlyMemory<byte>, lingers: bool) =
        let sent = Libc.send client.Descriptor response.Span

        if sent.Count = response.Length then
            connection.Answered lingers
        elif sent.Error = SocketError.Success || sent.Error = SocketError.WouldBlock then
            phase <- PlainPhase.Answering
            since <- Environment.TickCount64
            unsent <- response.Slice sent.Count
            closesAfter <- closesAfter || lingers
        else
            connection.Close()

    member private connection.Flush() =
        let sent = Libc.send client.Descriptor unsent.Span

        if sent.Count = unsent.Length then
            unsent <- ReadOnlyMemory.Empty
            connection.Answered false
            connection.GoOn()
        elif sent.Error = SocketError.Success || sent.Error = SocketError.WouldBlock then
            unsent <- unsent.Slice sent.Count
        else
            connection.Close()

    // The request is accepted, or refused.
    member private connection.Decided(refused: Refusal voption) =
        let isHead = request.IsHead
        request.Decided refused

        // Not if the connection was closed meanwhile.
        if phase = PlainPhase.Deciding then
            let response =
                match refused with
                | ValueNone -> own.Answers.Accepted(isHead, closesAfter)
                | ValueSome refusal -> own.Answers.Refused(refusal, isHead, closesAfter)

            connection.Answer(ReadOnlyMemory response, false)

    // A defect.
    member private connection.Failed(error: exn) =
        services.Failed error
        request.Failed()

        if phase = PlainPhase.Deciding then
            closesAfter <- true
            connection.Answer(ReadOnlyMemory(own.Answers.Failed()), false)

    member private connection.Submit(captured: Captured, current: IngressRequest) =
        stopTimer ()
        phase <- PlainPhase.Deciding

        let deciding =
            try
                Offer.submit services captured current
            with error ->
                ValueTask<Refusal voption>(Task.FromException<Refusal voption> error)

        if deciding.IsCompletedSuccessfully then
            connection.Decided deciding.Result
        elif deciding.IsCompleted then
            connection.Ended(deciding.AsTask())
        else
            connection.Await(deciding.AsTask())

    member private connection.Ended(deciding: Task<Refusal voption>) =
        if deciding.IsCompletedSuccessfully then
            connection.Decided deciding.Result
        else
            connection.Failed(
                match deciding.Exception with
                | null -> OperationCanceledException() :> exn
                | error -> error.GetBaseException()
            )

    // The store tells here, or on a thread of its own.
    member private connection.Await(deciding: Task<Refusal voption>) =
        let goOn () =
            connection.Ended deciding
            connection.GoOn()

        deciding
            .ConfigureAwait(false)
            .GetAwaiter()
            .UnsafeOnCompleted(fun () -> client.Loop.Run(fun () -> goOn ()))

    // The body is not waited for any longer.
    member private connection.GiveUp(refusal: Refusal) =
        stopTimer ()
        request.GiveUp refusal

    member private connection.RefuseBody(refusal: Refusal) =
        let isHead = request.IsHead
        connection.GiveUp refusal
        closesAfter <- true
        connection.Answer(ReadOnlyMemory(own.Answers.Refused(refusal, isHead, true)), true)

    // All of the request is there: it is submitted. False if there is no room for it.
    member private connection.TryEnd() : bool =
        match request.Current, request.TryEnd() with
        | NonNull current, ValueSome captured ->
            connection.Submit(captured, current)
            true
        | _ -> false

    // The first request in these bytes, up to `last`; where the next one begins.
    member private connection.TakeOne(bytes: byte[], first: int, last: int) : int =
        let received = ReadOnlySpan(bytes, first, last - first)
        let mutable isServers = true
        let mutable next = last

        match PlainHead.readAfter before received with
        | PlainReading.Plain plain when request.TryBegin plain ->
            before <- plain.Head
            hasHadRequest <- true
            closesAfter <- plain.ClosesAfter || own.IsStopping || services.IsDraining()
            let there = request.TryAppend(received.Slice plain.Length)

            if there >= 0 && request.Left > 0L then
                isServers <- false
                phase <- PlainPhase.Body

                if own.LimitsBodyAtOnce then
                    connection.LimitBody()
            elif there >= 0 && connection.TryEnd() then
                isServers <- false
                next <- first + plain.Length + there

            // Nothing of it has been taken but memory.
            if isServers then
                request.Leave()
        | _ -> ()

        if isServers then
            connection.GiveToServer(received.ToArray())

        next

    // What came after a request that is not answered yet.
    member private _.Keep(bytes: byte[], first: int, last: int) =
        if phase = PlainPhase.Deciding || phase = PlainPhase.Answering then
            kept <- bytes.AsSpan(first, last - first).ToArray()

    // One request after the other, while each is answered at once.
    member private connection.Take(bytes: byte[], first: int, last: int) =
        let mutable at = first

        while at < last && phase = PlainPhase.Idle do
            at <- connection.TakeOne(bytes, at, last)

        if at < last then
            connection.Keep(bytes, at, last)

    // A piece of the body, and perhaps what comes after it.
    member private connection.TakeBody(bytes: byte[], count: int) =
        let there = request.TryAppend(ReadOnlySpan(bytes, 0, count))

        if there < 0 then
            connection.RefuseBody Refusal.Busy
        elif request.Left = 0L then
            connection.EndBody()

            if there < count then
                connection.Take(bytes, there, count)

    member private connection.EndBody() =
        if not (connection.TryEnd()) then
            connection.RefuseBody Refusal.Busy

    // What was received last, and whether that was all there is at the moment.
    member private _.Note(moved: Libc.Moved, asked: int) : bool =
        if moved.Error = SocketError.WouldBlock then
            isReadable <- false
            false
        else
            if
                moved.Error = SocketError.Success
                && moved.Count > 0
                && moved.Count < asked
                && not isInputEnding
            then
                isReadable <- false

            moved.Error = SocketError.Success && moved.Count > 0

    // Into so many of the spaces. Where they are enough for the whole body, what comes behind it is received too: if nothing does,
    // there is nothing more to receive at the moment, and nobody has to ask.
    member private connection.ReceiveInto(count: int) : int =
        let mutable room = 0

        for index in 0 .. count - 1 do
            room <- room + own.Spaces[index].Count

        let isWhole = int64 room = request.Left
        own.Spaces[count] <- ArraySegment own.Scratch

        let moved =
            Libc.receivePieces
                client.Descriptor
                (ReadOnlySpan(own.Spaces, 0, (if isWhole then count + 1 else count)))

        if connection.Note(moved, (if isWhole then room + own.Scratch.Length else room)) then
            let behind = max 0 (moved.Count - room)
            request.Received(moved.Count - behind)

            if request.Left = 0L then
                connection.EndBody()
                connection.Take(own.Scratch, 0, behind)
        elif isReadable then
            connection.BodyEnded moved.Error

        moved.Count

    member private connection.ReceiveBody() : int =
        // The first of it goes together with the head; a little is not worth asking for memory first.
        if not request.HasBody || request.Left <= int64 own.Scratch.Length then
            let moved = Libc.receive client.Descriptor (own.Scratch.AsSpan())

            if connection.Note(moved, own.Scratch.Length) then
                connection.TakeBody(own.Scratch, moved.Count)
            elif isReadable then
                connection.BodyEnded moved.Error

            moved.Count
        else
            // One is left for what may come behind the body.
            let count = request.TrySpaces(own.Spaces.AsSpan(0, own.Spaces.Length - 1))

            if count = 0 then
                connection.RefuseBody Refusal.Busy
                0
            else
                connection.ReceiveInto count

    // No more of the body will come. Who has closed one side may still read.
    member private connection.BodyEnded(error: SocketError) =
        if error = SocketError.Success then
            connection.RefuseBody(
                Refusal.BadBody(StatusCodes.Status400BadRequest, "Unexpected end of request content.")
            )
        else
            connection.GiveUp Refusal.ClientGone
            connection.Close()

    member private connection.ReceiveAll() =
        let mutable left = mostAtOnce

        while isReadable
              && left > 0
              && (phase = PlainPhase.Idle
                  || phase = PlainPhase.Body
                  || phase = PlainPhase.Lingering) do
            if phase = PlainPhase.Body then
                left <- left - connection.ReceiveBody()
            else
                let moved = Libc.receive client.Descriptor (own.Scratch.AsSpan())

                if connection.Note(moved, own.Scratch.Length) then
                    left <- left - moved.Count

                    if phase = PlainPhase.Idle then
                        connection.Take(own.Scratch, 0, moved.Count)
                    else
                        lingered <- lingered + moved.Count

                        if lingered > mostLingering then
                            connection.Close()
                elif isReadable then
                    connection.Close()

        // Others have waited for long enough.
        if left <= 0 && isReadable && phase <> PlainPhase.Over then
            client.Loop.Later(fun () -> connection.ReceiveAll())

    // After a response that was waited for.
    member private connection.GoOn() =
        if phase = PlainPhase.Idle && kept.Length > 0 then
            let bytes = kept
            kept <- Array.Empty()
            connection.Take(bytes, 0, bytes.Length)

        connection.ReceiveAll()

    member private connection.BodyIsLate() =
        if phase = PlainPhase.Body then
            connection.RefuseBody(Refusal.TooSlow services.ReadTimeout)

    // By the clock from now on.
    member private connection.LimitBody() =
        if isNull timer then
            let left =
                max TimeSpan.Zero (services.ReadTimeout - services.Clock.GetElapsedTime request.Began)

            let current = request.Current

            let onTime =
                TimerCallback(fun _ ->
                    client.Loop.Post(fun () ->
                        if Object.ReferenceEquals(request.Current, current) then
                            connection.BodyIsLate()))

            timer <- services.Clock.CreateTimer(onTime, null, left, Timeout.InfiniteTimeSpan)

    /// A second or so has passed.
    member connection.Sweep() : unit =
        let waited = Environment.TickCount64 - since

        match phase with
        | PlainPhase.Idle ->
            // Thousands of connections may wait for their next request.
            before <- null

            let most =
                if hasHadRequest then
                    own.Limits.Idle
                else
                    own.Limits.Headers

            if float waited >= most.TotalMilliseconds then
                connection.Close()
        | PlainPhase.Body -> connection.LimitBody()
        | PlainPhase.Lingering ->
            if waited >= longestLingering then
                connection.Close()
        | PlainPhase.Answering ->
            if waited >= longestAnswering then
                connection.Close()
        | PlainPhase.Deciding
        | PlainPhase.Over -> ()

    /// No request is waited for any more.
    member connection.EndWhenIdle() : unit =
        closesAfter <- true

        if phase = PlainPhase.Idle || phase = PlainPhase.Lingering then
            connection.Close()

    /// Ends it as it is.
    member connection.Abort() : unit =
        if phase = PlainPhase.Body then
            connection.GiveUp Refusal.ClientGone

        connection.Close()

    /// Begins to receive.
    member connection.Start() : unit =
        own.Connections.Add connection |> ignore
        client.Watch(fun events -> connection.Happened events)

    member private connection.Happened(events: int) : unit =
        if events &&& (Events.inputEnded ||| Events.hungUp ||| Events.failed) <> 0 then
            isInputEnding <- true

        if phase = PlainPhase.Answering && events &&& ~~~Events.readable <> 0 then
            connection.Flush()

        if events &&& ~~~Events.writable <> 0 then
            isReadable <- true
            connection.ReceiveAll()
