namespace K8sReq.Host.Proxy

open System
open System.Buffers
open System.IO
open System.Net
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// How one send ended, and when the target wants to be asked again, if it has said so (`Retry-After`).
[<Struct>]
type SendResult = {
    Outcome: TargetOutcome
    RetryAfter: TimeSpan voption
}

module SendResult =
    let ofOutcome (outcome: TargetOutcome) = {
        Outcome = outcome
        RetryAfter = ValueNone
    }

/// One send of one copy to one target. Never throws and never redirects; ends within the timeouts it was made with,
/// and when it has ended nothing reads the request's body any more. Nobody retries.
type TargetClient = Target -> CapturedRequest -> CancellationToken -> Async<SendResult>

/// How long a send may take: `Write` from the start of connecting to the last byte sent, `Read` from there to the
/// head of the answer. A target may have a limit for both together besides (`DeliveryPolicy.AttemptTimeout`).
type SendTimeouts = { Write: TimeSpan; Read: TimeSpan }

module private Body =
    /// The pieces of a body, for where no enumerator of a sequence may live: across an await.
    let parts (body: ReadOnlySequence<byte>) : ReadOnlyMemory<byte>[] =
        let parts = ResizeArray<ReadOnlyMemory<byte>>(1)

        for part in body do
            parts.Add part

        parts.ToArray()

/// A captured body. Tells when the handler has stopped reading it, which can be after it has given an answer.
type private BodyContent(body: ReadOnlySequence<byte>, onSent: unit -> unit) =
    inherit HttpContent()

    let finished =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    let mutable isStarted = false

    /// Completed once nothing reads the body any more. To be asked for when the send is over.
    member _.Finished: Task = if isStarted then finished.Task else Task.CompletedTask

    override _.TryComputeLength(length) =
        length <- body.Length
        true

    override content.SerializeToStreamAsync(stream: Stream, context: TransportContext | null) =
        content.SerializeToStreamAsync(stream, context, CancellationToken.None)

    override _.SerializeToStreamAsync
        (stream: Stream, _: TransportContext | null, cancelled: CancellationToken)
        : Task =
        isStarted <- true

        task {
            try
                for part in Body.parts body do
                    do! stream.WriteAsync(part, cancelled)

                onSent ()
            finally
                finished.TrySetResult() |> ignore
        }

module TargetClient =
    // A target's answer is read up to here so that its connection can be used again; beyond, the connection is closed.
    let private longestDrain = TimeSpan.FromSeconds 2.0
    let private largestDrain = 256 * 1024

    // A connection that a target's idle limit (60 s and more are usual) is about to end is not worth keeping.
    let private longestIdle = TimeSpan.FromSeconds 45.0

    let private keepAlive = Timeout.InfiniteTimeSpan

    let private handler (timeouts: SendTimeouts) (connectionLifetime: TimeSpan) =
        new SocketsHttpHandler(
            ActivityHeadersPropagator = null,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectCallback = TracedStream.connect,
            ConnectTimeout = timeouts.Write,
            MaxResponseDrainSize = largestDrain,
            ResponseDrainTimeout = longestDrain,
            PooledConnectionIdleTimeout = longestIdle,
            PooledConnectionLifetime = connectionLifetime,
            RequestHeaderEncodingSelector = (fun _ _ -> HeadBlock.encoding),
            UseCookies = false,
            UseProxy = false
        )

    // The path and query are not to be put in any other form than that in which they came.
    let private asItIs =
        UriCreationOptions(DangerousDisablePathAndQueryCanonicalization = true)

    let private messageFor (target: Target) (request: CapturedRequest) =
        let mutable asItIs = asItIs
        let uri = Uri($"http://{target.Endpoint}{request.Target}", &asItIs)

        let message =
            new HttpRequestMessage(
                HttpMethod request.Method,
                uri,
                Version = HttpVersion.Version11,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact
            )

        message.Headers.TryAddWithoutValidation("Host", request.Host) |> ignore

        message.Headers.TryAddWithoutValidation(HeadBlock.Carrier, HeadBlock.render request.Headers)
        |> ignore

        message

    // SocketsHttpHandler writes these in capitals, however they came; methods are case-sensitive (RFC 9110 section 9.1).
    let private respelled = [ "GET"; "HEAD"; "POST"; "PUT"; "PATCH"; "DELETE"; "OPTIONS"; "TRACE"; "QUERY" ]

    /// Whether a request with this method and request target can be sent as it is. CONNECT and `*` name no resource
    /// that a copy could be sent to.
    let canSend (method: string) (target: string) =
        target <> "*"
        && not (method.Equals("CONNECT", StringComparison.OrdinalIgnoreCase))
        && not (
            respelled
            |> List.exists (fun known ->
                known <> method && known.Equals(method, StringComparison.OrdinalIgnoreCase))
        )

    let rec private rootReason (error: exn) =
        match error.InnerException with
        | null -> error.Message
        | inner -> rootReason inner

    let private outcomeOf (error: HttpRequestException) =
        match error.HttpRequestError with
        | HttpRequestError.ConnectionError
        | HttpRequestError.NameResolutionError -> TargetOutcome.ConnectFailed(rootReason error)
        | HttpRequestError.InvalidResponse
        | HttpRequestError.ConfigurationLimitExceeded -> TargetOutcome.BadAnswer(rootReason error)
        | _ -> TargetOutcome.SendFailed(rootReason error)

    // In seconds, or as a date (RFC 9110 section 10.2.3).
    let private retryAfter (clock: TimeProvider) (response: HttpResponseMessage) =
        match response.Headers.RetryAfter with
        | null -> ValueNone
        | field when field.Delta.HasValue -> ValueSome field.Delta.Value
        | field when field.Date.HasValue -> ValueSome(field.Date.Value - clock.GetUtcNow())
        | _ -> ValueNone

    // `whole` ends the attempt, `stop` the process's copies.
    let private sendOver
        (invoker: HttpMessageInvoker)
        (clock: TimeProvider)
        (timeouts: SendTimeouts)
        (target: Target)
        (request: CapturedRequest)
        (trace: SendTrace)
        (whole: CancellationToken)
        (stop: CancellationToken)
        = task {
        let mutable isSent = request.Body.IsNone
        // The handler does not tell when a head without a body has been sent; both times are granted at once then,
        // and the first is held by the limit on connecting.
        let first =
            if isSent then
                timeouts.Write + timeouts.Read
            else
                timeouts.Write

        use deadline = new CancellationTokenSource(first, clock)
        use _ = whole.Register(fun () -> deadline.Cancel())
        use _ = stop.Register(fun () -> deadline.Cancel())
        use message = messageFor target request

        let content =
            request.Body
            |> ValueOption.map (fun body ->
                new BodyContent(
                    body,
                    fun () ->
                        isSent <- true
                        deadline.CancelAfter timeouts.Read
                ))

        content |> ValueOption.iter (fun body -> message.Content <- body)

        let failed = SendResult.ofOutcome

        let! result = task {
            try
                SendTrace.Current <- trace
                use! response = invoker.SendAsync(message, deadline.Token)

                return {
                    Outcome = TargetOutcome.ofStatus (int response.StatusCode)
                    RetryAfter = retryAfter clock response
                }
            with
            | :? HttpRequestException as error -> return failed (outcomeOf error)
            | :? OperationCanceledException when stop.IsCancellationRequested ->
                return failed TargetOutcome.Cancelled
            // Either the deadline, or the handler's own limit on connecting.
            | :? OperationCanceledException when deadline.IsCancellationRequested && isSent ->
                return failed (TargetOutcome.TimedOut TimeoutPhase.Answering)
            | :? OperationCanceledException -> return failed (TargetOutcome.TimedOut TimeoutPhase.Sending)
            | :? IOException as error -> return failed (TargetOutcome.SendFailed(rootReason error))
            // Caught here and not further out: the body must be let go of whatever happens.
            | error -> return failed (TargetOutcome.Faulted(rootReason error))
        }

        // An answer can come before the request has been read. Then the handler is still sending the body from
        // memory that is about to be given back: make it stop, and wait until it has.
        match content with
        | ValueSome body when not body.Finished.IsCompleted ->
            deadline.Cancel()
            do! body.Finished
        | _ -> ()

        return result
    }

    let private send
        (pooled: HttpMessageInvoker)
        (fresh: HttpMessageInvoker)
        (clock: TimeProvider)
        (timeouts: SendTimeouts)
        (target: Target)
        (request: CapturedRequest)
        (stop: CancellationToken)
        = task {
        use whole =
            match target.Delivery.AttemptTimeout with
            | Some limit -> new CancellationTokenSource(limit, clock)
            | None -> new CancellationTokenSource()

        let trace = SendTrace()
        let! result = sendOver pooled clock timeouts target request trace whole.Token stop

        match result.Outcome with
        // A kept connection may have been closed by the target just before it was used again. That says nothing of the
        // target, so it is no attempt (RFC 9112 section 9.3.1): once more, over a connection that nobody has used.
        | TargetOutcome.SendFailed _ when
            trace.IsOnUsedConnection
            && not trace.HasAnswer
            && not whole.IsCancellationRequested
            ->
            return! sendOver fresh clock timeouts target request (SendTrace()) whole.Token stop
        | _ -> return result
    }

    /// Sends through SocketsHttpHandler with connections kept and shared among all sends. Disposing the second value
    /// closes them.
    let overSocketsHttpHandler (clock: TimeProvider) (timeouts: SendTimeouts) : TargetClient * IDisposable =
        let pooled = new HttpMessageInvoker(handler timeouts keepAlive)
        let fresh = new HttpMessageInvoker(handler timeouts TimeSpan.Zero)

        let client: TargetClient =
            fun target request stop -> async {
                try
                    return! send pooled fresh clock timeouts target request stop |> Async.AwaitTask
                with error ->
                    return SendResult.ofOutcome (TargetOutcome.Faulted(rootReason error))
            }

        client,
        {
            new IDisposable with
                member _.Dispose() =
                    pooled.Dispose()
                    fresh.Dispose()
        }
