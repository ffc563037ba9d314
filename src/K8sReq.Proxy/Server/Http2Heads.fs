namespace K8sReq.Proxy

open System
open System.Buffers
open System.IO.Pipelines
open System.Threading
open System.Threading.Tasks

/// A connection's input, HTTP/2, that hands on no more heads than are looked at. The server reads as many requests ahead as
/// a connection may have streams, a hundred; a head can name the fields of heads before it by a byte each, so that half a
/// kilobyte stands for 64, and a hundred of them for megabytes before the first is refused. Here a head waits, with all that
/// comes after it, until those before it have come to the pipeline (`HeadEnded`). A feature of the connection.
///
/// A head that the server refuses by itself never gets there: after a while it counts no more.
[<Sealed>]
type Http2Heads internal (inner: PipeReader, clock: TimeProvider) =
    inherit WrappedInput(inner)

    // At once. They are what a connection is charged for.
    static let most = 4
    static let patience = TimeSpan.FromMilliseconds 200.0
    static let frameHead = 9
    static let headers = 1uy

    // Guards `underWay` and `room`. Heads under way are never more than the limit, and `room` is set only while a reader
    // waits for one of them to end. The positions below belong to the connection's reader alone.
    let gate = Lock()
    let mutable underWay = 0
    // Completed when there is room for one more.
    let mutable room: TaskCompletionSource | null = null

    // Positions in the stream of bytes: where what was read last begins, up to where it may be handed on, and where the next
    // frame begins.
    let mutable start = 0L
    let mutable allowed = 0L
    let mutable nextFrame = int64 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"B.Length
    // The highest number of a stream so far: HEADERS of one that is known are trailers.
    let mutable lastStream = 0
    let mutable isHeld = false
    // Of the frame that is looked at.
    let head = Array.zeroCreate<byte> frameHead
    // What was handed on: positions in it come back.
    let mutable handed = ReadOnlySequence<byte>.Empty

    let tryEnter () =
        exclusively gate (fun () ->
            if underWay < most then
                underWay <- underWay + 1
                true
            else
                if isNull room then
                    room <- TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                false)

    let leave (count: int) =
        let waiting =
            exclusively gate (fun () ->
                underWay <- max 0 (underWay - count)
                let waiting = room
                room <- null
                waiting)

        match waiting with
        | null -> ()
        | waiting -> waiting.TrySetResult() |> ignore

    // Goes from frame to frame as far as their heads have come; what is allowed ends where a head has to wait.
    let scan (buffer: ReadOnlySequence<byte>) =
        let last = start + buffer.Length
        let mutable isOver = false
        isHeld <- false

        while not isOver do
            if nextFrame + int64 frameHead > last then
                // What has come of its nine bytes says too little for anybody to act upon.
                allowed <- max nextFrame last
                isOver <- true
            else
                buffer.Slice(nextFrame - start, int64 frameHead).CopyTo(head.AsSpan())
                let length = (int head[0] <<< 16) ||| (int head[1] <<< 8) ||| int head[2]

                let stream =
                    ((int head[5] &&& 127) <<< 24)
                    ||| (int head[6] <<< 16)
                    ||| (int head[7] <<< 8)
                    ||| int head[8]

                let isRequest = head[3] = headers && stream > lastStream

                if isRequest && not (tryEnter ()) then
                    allowed <- nextFrame
                    isHeld <- true
                    isOver <- true
                else
                    if isRequest then
                        lastStream <- stream

                    nextFrame <- nextFrame + int64 frameHead + int64 length

    let handOn (result: ReadResult) =
        let buffer = result.Buffer
        scan buffer
        let length = min buffer.Length (max 0L (allowed - start))

        handed <-
            if length = buffer.Length then
                buffer
            else
                buffer.Slice(0L, length)

        ReadResult(handed, result.IsCanceled, result.IsCompleted && length = buffer.Length)

    // Until there is room, or somebody wants the read to end.
    let waitForRoom () : Task = task {
        let waiting = exclusively gate (fun () -> if underWay < most then null else room)

        match waiting with
        | null -> ()
        | waiting ->
            use cancel = new CancellationTokenSource()
            let! first = Task.WhenAny(waiting.Task, Task.Delay(patience, clock, cancel.Token))
            cancel.Cancel()

            // The server has refused them without a word.
            if not (Object.ReferenceEquals(first, waiting.Task)) then
                leave most
    }

    /// The head of a request has come to the pipeline.
    member _.HeadEnded() = leave 1

    override _.HandOn result = handOn result

    override _.BeforeRead() =
        if isHeld then waitForRoom () else Task.CompletedTask

    override _.AdvanceTo(consumed, examined) =
        start <- start + handed.Slice(handed.Start, consumed).Length
        base.AdvanceTo(consumed, examined)

    override _.CancelPendingRead() =
        base.CancelPendingRead()
        // A read that waits for room goes on, to find itself cancelled.
        leave 0
