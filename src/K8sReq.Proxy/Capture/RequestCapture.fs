namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open K8sReq.Core

/// A request with the memory that it is in; its owner releases that memory, once.
[<NoEquality; NoComparison>]
type Captured = {
    Request: CapturedRequest
    Buffer: RequestBuffer
}

// Counts what it drops.
type private Nowhere() =
    let mutable length = 0L

    interface IBodySink with
        member _.BodyLength = length

        member _.TryAppend bytes =
            length <- length + bytes.Length
            true

module RequestCapture =
    let private requestOf (ctx: HttpContext) =
        match ctx.Features.Get<IHttpRequestFeature>() with
        | null -> invalidOp "A request without a request feature."
        | feature -> feature

    /// The request target as it came over the wire, a character for each byte.
    let rawTarget (ctx: HttpContext) : string =
        let target = (requestOf ctx).RawTarget

        if target.Contains RequestLines.StandIn then
            match ctx.Features.Get<RequestLines>() with
            | null -> target
            | lines -> lines.TargetAsSent target
        else
            target

    // Nothing of this message is left on its connection.
    let private messageEnded (ctx: HttpContext) =
        match ctx.Features.Get<RequestLines>() with
        | null -> ()
        | lines -> lines.MessageEnded()

    /// The lines of the head, the values of one name in their order. HTTP/2's pseudo-header fields are not among them.
    let headerLines (headers: IHeaderDictionary) : HeaderLine[] =
        // Nearly always one line for each name.
        let mutable lines = Array.zeroCreate<HeaderLine> headers.Count
        let mutable count = 0

        for KeyValue(name, values) in headers do
            if not (name.StartsWith ':') then
                for index in 0 .. values.Count - 1 do
                    if count = lines.Length then
                        Array.Resize(&lines, 2 * count)

                    lines[count] <- struct (name, string values[index])
                    count <- count + 1

        if count < lines.Length then
            Array.Resize(&lines, count)

        lines

    /// The head of the request, parsed.
    let headOf (ctx: HttpContext) : RequestHead =
        let request = ctx.Request

        RequestHead.create
            request.Method
            (rawTarget ctx)
            (string request.Headers.Host)
            (HttpProtocol.IsHttp10 request.Protocol)
            (headerLines request.Headers)

    // Framing decides whether a message has a body (RFC 9112 section 6.3), not the method. HTTP/2 has
    // neither field if the client does not know the length, and says it by the stream's end.
    let private hasBody (ctx: HttpContext) =
        ctx.Request.ContentLength.HasValue
        || (match ctx.Features.Get<IHttpRequestBodyDetectionFeature>() with
            | null -> false
            | detection -> detection.CanHaveBody)

    // Reads to the end of the body. The clock runs only while there is something to wait for.
    let private readBody
        (clock: TimeProvider)
        (timeout: TimeSpan)
        (limit: int64)
        (ctx: HttpContext)
        (body: IBodySink)
        : Task<Result<unit, Refusal>> = task {
        let reader = ctx.Request.BodyReader
        let mutable timer: ITimer | null = null
        let mutable isLate = false
        let mutable outcome = ValueNone
        let mutable unexpected: exn | null = null

        // The read is ended, not given up: the server could not go on with the connection otherwise.
        let onTimeout (_: obj | null) =
            Volatile.Write(&isLate, true)
            reader.CancelPendingRead()

        try
            while outcome.IsNone do
                let mutable result = Unchecked.defaultof<ReadResult>

                if not (reader.TryRead(&result)) then
                    if isNull timer then
                        timer <- clock.CreateTimer(onTimeout, reader, timeout, Timeout.InfiniteTimeSpan)

                    let! awaited = reader.ReadAsync()
                    result <- awaited

                if body.BodyLength + result.Buffer.Length > limit then
                    outcome <- ValueSome(Error(Refusal.TooLarge limit))
                elif not (body.TryAppend result.Buffer) then
                    outcome <- ValueSome(Error Refusal.Busy)
                else if result.IsCompleted then
                    outcome <- ValueSome(Ok())
                elif Volatile.Read &isLate then
                    outcome <- ValueSome(Error(Refusal.TooSlow timeout))

                reader.AdvanceTo result.Buffer.End
        with
        | :? BadHttpRequestException as error ->
            HandledRefusal.mark error
            outcome <- ValueSome(Error(Refusal.BadBody(error.StatusCode, error.Message)))
        | :? OperationCanceledException
        | :? IOException -> outcome <- ValueSome(Error Refusal.ClientGone)
        | error -> unexpected <- error

        match timer with
        | null -> ()
        // Waits for a callback that is running: the reader serves the connection's next request.
        | running -> do! running.DisposeAsync()

        match unexpected with
        | null ->
            if outcome.Value.IsOk then
                messageEnded ctx

            return outcome.Value
        | error ->
            ExceptionDispatchInfo.Throw error
            return Error Refusal.ClientGone
    }

    /// Reads what there is of a body that nobody wants, so that the connection can go on with the next request. False if
    /// it is larger than the limit (bytes) or does not come whole within the timeout, or if its client waits for leave to
    /// send it (RFC 9110 section 10.1.1): the connection is to end with the answer then. Nothing of it is kept.
    let skipBody
        (clock: TimeProvider)
        (timeout: TimeSpan)
        (limit: int64)
        (ctx: HttpContext)
        : ValueTask<bool> =
        // A stream of HTTP/2 ends by itself.
        if HttpProtocol.IsHttp2 ctx.Request.Protocol then
            ValueTask<bool> true
        elif not (hasBody ctx) then
            messageEnded ctx
            ValueTask<bool> true
        elif
            ctx.Request.Headers.ContainsKey "Expect"
            || ctx.Request.ContentLength.GetValueOrDefault() > limit
        then
            ValueTask<bool> false
        else
            ValueTask<bool>(
                task {
                    let! read = readBody clock timeout limit ctx (Nowhere())
                    return read.IsOk
                }
            )

    /// The head of the copies, with these lines. `contentLength` is none for a request without a body.
    let wireHead (head: RequestHead) (lines: HeaderLine[]) (contentLength: int64 voption) : WireHead = {
        Method = head.Method
        Target = RequestTarget.originForm head.Target
        Host = head.Host
        Lines = lines
        ContentLength = contentLength
    }

    /// A request of which all is there: its copies have this head.
    let captured (head: WireHead) (buffer: RequestBuffer) = {
        Request = {
            Host = head.Host
            Method = head.Method
            Wire = buffer.Bytes
            // Before the empty line.
            FieldsEnd = int64 (WireHead.length head) - 2L
        }
        Buffer = buffer
    }

    // What the server holds for a request beside its strings, while its body is waited for.
    let private heldPerStream = 8192L
    let private heldPerField = 96L

    /// What the server holds of a request's head while it is under way, in bytes: its fields at their real size, however
    /// they came (HTTP/2 names fields of heads before by a byte each).
    let headWeight (lines: HeaderLine[]) : int64 =
        let mutable weight = heldPerStream + heldPerField * int64 lines.Length

        for struct (name, value) in lines do
            weight <- weight + 2L * int64 (name.Length + value.Length)

        weight

    /// Copies all of a request that its copies need, so that nothing touches the context afterwards. `lines` are
    /// the headers that copies carry. A body that is declared larger than the limit (bytes) is not read. Throws what
    /// the server's reader throws, if it is none of the failures that are expected; holds no memory then.
    let capture
        (clock: TimeProvider)
        (timeout: TimeSpan)
        (allowance: Allowance)
        (limit: int64 option)
        (head: RequestHead)
        (lines: HeaderLine[])
        (ctx: HttpContext)
        : Task<Result<Captured, Refusal>> = task {
        let limit = defaultArg limit Int64.MaxValue
        let declared = ctx.Request.ContentLength
        let headWith = wireHead head lines

        if declared.GetValueOrDefault() > limit then
            return Error(Refusal.TooLarge limit)
        else
            let buffer = RequestBuffer(allowance, declared.GetValueOrDefault())

            let give (result: Result<WireHead, Refusal>) =
                match result with
                | Ok head -> Ok(captured head buffer)
                | Error error ->
                    buffer.Release()
                    Error error

            let put (head: WireHead) =
                if buffer.TryPutHead head then
                    Ok head
                else
                    Error Refusal.Busy

            try
                if not (hasBody ctx) then
                    messageEnded ctx
                    return give (put (headWith ValueNone))
                elif declared.HasValue then
                    let head = headWith (ValueSome declared.Value)
                    buffer.Begin head
                    let! read = readBody clock timeout limit ctx buffer

                    return
                        give (
                            match read with
                            | Ok() when buffer.TryEnd() -> Ok head
                            | Ok() -> Error Refusal.Busy
                            | Error error -> Error error
                        )
                else
                    // How long it is, and so what the head says, is known at its end.
                    let! read = readBody clock timeout limit ctx buffer

                    return give (read |> Result.bind (fun () -> put (headWith (ValueSome buffer.BodyLength))))
            with error ->
                // Nobody else does: who called sees the exception alone.
                buffer.Release()
                ExceptionDispatchInfo.Throw error
                return Error Refusal.ClientGone
    }
