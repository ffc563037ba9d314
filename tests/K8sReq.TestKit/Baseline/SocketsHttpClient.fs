/// The same over SocketsHttpHandler: what the proxy's own connections are checked against.
namespace K8sReq.TestKit.Baseline

open System
open System.Buffers
open System.IO
open System.Net
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit.HttpMessage

/// A captured body. Tells when the handler has stopped reading it, which can be after it has given an answer.
type private BodyContent(body: byte[], onSent: unit -> unit) =
    inherit HttpContent()

    let finished =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    let mutable isStarted = false

    /// Completed once nothing reads the body any more. To be asked for when the send is over.
    member _.Finished: Task = if isStarted then finished.Task else Task.CompletedTask

    override _.TryComputeLength(length) =
        length <- int64 body.Length
        true

    override content.SerializeToStreamAsync(stream: Stream, context: TransportContext | null) =
        content.SerializeToStreamAsync(stream, context, CancellationToken.None)

    override _.SerializeToStreamAsync
        (stream: Stream, _: TransportContext | null, cancelled: CancellationToken)
        : Task =
        isStarted <- true

        task {
            try
                do! stream.WriteAsync(ReadOnlyMemory body, cancelled)

                onSent ()
            finally
                finished.TrySetResult() |> ignore
        }

module SocketsHttpClient =
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

    // The request as the client wants it, from the bytes that it is to make of it.
    let private parse (request: CapturedRequest) : Message =
        use bytes = new MemoryStream(request.Wire.ToArray())

        match MessageReader(bytes).Read().GetAwaiter().GetResult() with
        | Some message -> message
        | None -> failwith "no request"

    let private messageFor (target: Target) (request: Message) =
        let mutable asItIs = asItIs
        let start = request.Start.Split ' '
        let uri = Uri($"http://{target.Endpoint}{start[1]}", &asItIs)

        let message =
            new HttpRequestMessage(
                HttpMethod start[0],
                uri,
                Version = HttpVersion.Version11,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact
            )

        let lines =
            request.Fields
            |> List.filter (fun (name, _) -> name <> "Host" && name <> "Content-Length")
            |> List.map (fun (name, value) -> struct (name, value))
            |> List.toArray

        message.Headers.TryAddWithoutValidation("Host", request.Values "Host") |> ignore

        message.Headers.TryAddWithoutValidation(HeadBlock.Carrier, HeadBlock.render lines)
        |> ignore

        message

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
        (request: Message)
        (trace: SendTrace)
        (whole: CancellationToken)
        (stop: CancellationToken)
        = task {
        let hasBody = request.Values "Content-Length" <> []
        let mutable isSent = not hasBody
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
            if hasBody then
                ValueSome(
                    new BodyContent(
                        request.Body,
                        fun () ->
                            isSent <- true
                            deadline.CancelAfter timeouts.Read
                    )
                )
            else
                ValueNone

        content |> ValueOption.iter (fun body -> message.Content <- body)

        let failed = SendResult.ofOutcome

        let! result = task {
            try
                SendTrace.Current <- trace
                use! response = invoker.SendAsync(message, deadline.Token)

                return {
                    Outcome = TargetOutcome.ofStatus (int response.StatusCode)
                    RetryAfter = retryAfter clock response
                    IsAttempt = true
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
        (request: Message)
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

    /// Made and disposed of as `TargetClient.create` is.
    let create
        (clock: TimeProvider)
        (timeouts: SendTimeouts)
        (stop: CancellationToken)
        : TargetClient * IDisposable =
        let pooled = new HttpMessageInvoker(handler timeouts keepAlive)
        let fresh = new HttpMessageInvoker(handler timeouts TimeSpan.Zero)

        let client =
            K8sReq.TestKit.InMemoryDelivery.clientOf (fun target request ->
                ValueTask<SendResult>(
                    task {
                        try
                            return! send pooled fresh clock timeouts target (parse request) stop
                        with error ->
                            return SendResult.ofOutcome (TargetOutcome.Faulted(rootReason error))
                    }
                ))

        client,
        {
            new IDisposable with
                member _.Dispose() =
                    pooled.Dispose()
                    fresh.Dispose()
        }
