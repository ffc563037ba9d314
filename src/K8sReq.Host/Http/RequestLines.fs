namespace K8sReq.Host.Http

open System
open System.Buffers
open System.IO.Pipelines
open System.Text
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Server.Kestrel.Core.Features
open Microsoft.AspNetCore.Server.Kestrel.Core

/// A connection's input, HTTP/1.1, whose request lines Kestrel takes. As they come it refuses some that others pass on:
/// bytes above 127 in the target, which many clients send unescaped, and a scheme in capitals. It also takes one that has
/// no space before the version, for another request than was sent. A line is changed before Kestrel sees it, in place
/// and without a change of its length; the target as it was sent is kept for whoever copies the request. A feature of the
/// connection.
///
/// Where a line begins is known at the connection's start, and after a request that has been read to its end, which is to
/// be said by `MessageEnded`. Nothing else of what a client sends is ever changed.
[<Sealed>]
type RequestLines internal (inner: PipeReader, allowance: Allowance, refuse: unit -> unit) =
    inherit PipeReader()

    // What the server may come to hold for a head that does not come at once: 64 KiB and 500 fields as strings.
    static let slowHead = 192L * 1024L

    // What Kestrel sees instead of a byte above 127. It stands in few targets, so that few have to ask for theirs.
    static let standIn = '^'
    // As a line's first byte it makes a line that is refused.
    static let spoiler = byte '('

    let mutable isLineNext = true
    // The target of the last line that was changed, until the next line comes.
    let mutable asSent: string | null = null

    // Whether Kestrel reads this line as it is meant: a method, a space, a target, a space, a version.
    let isPlain (line: ReadOnlySpan<byte>) =
        let methodEnd = line.IndexOf(byte ' ')

        line.Count(byte ' ') = 2
        && not (line.ContainsAnyInRange(128uy, 255uy))
        && not (Char.IsAsciiLetterUpper(char line[methodEnd + 1]))

    // Writing to what was read: the memory is this connection's until it is advanced over.
    let put (line: ReadOnlySequence<byte>) (bytes: byte[]) =
        let mutable written = 0

        for part in line do
            let target = Runtime.InteropServices.MemoryMarshal.AsMemory(part)
            bytes.AsMemory(written, part.Length).CopyTo target
            written <- written + part.Length

    let change (line: ReadOnlySequence<byte>) =
        let bytes = line.ToArray()
        let methodEnd = Array.IndexOf(bytes, byte ' ')
        let targetEnd = Array.LastIndexOf(bytes, byte ' ')

        if bytes.AsSpan().Count(byte ' ') <> 2 then
            bytes[0] <- spoiler
        else
            let target =
                Encoding.Latin1.GetString(bytes, methodEnd + 1, targetEnd - methodEnd - 1)

            let scheme =
                match target.IndexOf("://", StringComparison.Ordinal) with
                | end' when end' > 0 && target.AsSpan(0, end').IndexOfAnyExceptInRange('A', 'z') < 0 -> end'
                | _ -> 0

            for index in 0 .. target.Length - 1 do
                let seen =
                    if target[index] > '\127' then standIn
                    elif index < scheme then Char.ToLowerInvariant target[index]
                    else target[index]

                bytes[methodEnd + 1 + index] <- byte seen

            asSent <- target

        put line bytes

    let inspect (buffer: ReadOnlySequence<byte>) =
        // Empty lines before a request mean nothing (RFC 9112 section 2.2).
        let mutable start = buffer.Start
        let mutable rest = buffer

        while rest.Length > 0L && (rest.FirstSpan[0] = '\r'B || rest.FirstSpan[0] = '\n'B) do
            rest <- rest.Slice 1L
            start <- rest.Start

        let lineEnd = rest.PositionOf '\n'B

        if lineEnd.HasValue then
            let line = rest.Slice(start, lineEnd.Value)
            isLineNext <- false
            asSent <- null

            if not (line.IsSingleSegment && isPlain line.FirstSpan) then
                change line

    // From the first byte of a head until it has come whole.
    let mutable isInHead = true
    let mutable hasPartOfHead = false
    let mutable charged = 0L
    let mutable headLength = 0L

    let seen (result: ReadResult) =
        if isInHead && not result.Buffer.IsEmpty then
            hasPartOfHead <- true
            headLength <- result.Buffer.Length

        if isLineNext then
            inspect result.Buffer

    // More of a head is asked for of which there is a part already: it counts as much as it can come to take.
    let charge () =
        if isInHead && hasPartOfHead && charged = 0L then
            if allowance.TryTake slowHead then
                charged <- slowHead
            else
                refuse ()

    let discharge () =
        if charged > 0L then
            headLength <- charged
            allowance.Return charged
            charged <- 0L

    /// See `standIn`: only a target with this character can be another than was sent.
    static member StandIn = standIn

    /// The message has been read to its end: what comes next on the connection is a request line.
    member _.MessageEnded() =
        isLineNext <- true
        isInHead <- true
        hasPartOfHead <- false

    /// A head has come whole.
    member _.HeadEnded() =
        isInHead <- false
        discharge ()

    /// Of the last head, in bytes: no less than that, as more may have come at once.
    member _.HeadLength = max headLength charged

    /// The connection has ended.
    member internal _.Ended() =
        isInHead <- false
        discharge ()

    /// What was sent where Kestrel saw `target`.
    member _.TargetAsSent(target: string) : string =
        match asSent with
        | null -> target
        | sent -> sent

    override _.TryRead(result: byref<ReadResult>) =
        let hasRead = inner.TryRead &result

        if hasRead then
            seen result

        hasRead

    override _.ReadAsync cancelled =
        charge ()
        let pending = inner.ReadAsync cancelled

        if pending.IsCompletedSuccessfully then
            let result = pending.Result
            seen result
            ValueTask<ReadResult> result
        else
            ValueTask<ReadResult>(
                task {
                    let! result = pending
                    seen result
                    return result
                }
            )

    override _.AdvanceTo(consumed, examined) = inner.AdvanceTo(consumed, examined)
    override _.AdvanceTo consumed = inner.AdvanceTo consumed
    override _.CancelPendingRead() = inner.CancelPendingRead()
    override _.Complete error = inner.Complete error
    override _.CompleteAsync error = inner.CompleteAsync error

/// What a server's connections have to do with the memory for requests.
[<NoEquality; NoComparison>]
type ConnectionMemory = {
    Budget: BufferBudget
    Shares: ClientShares
}

module RequestLines =
    // Of a connection of HTTP/2: the heads that it reads ahead (see `Http2Heads`), each of 64 KiB as strings.
    let private http2Connection = 512L * 1024L

    let private pipeOf input output = {
        new IDuplexPipe with
            member _.Input = input
            member _.Output = output
    }

    let private abort (connection: ConnectionContext) () =
        connection.Abort(ConnectionAbortedException "The memory for requests is spent.")

    let private serveHttp1 (next: ConnectionDelegate) (connection: ConnectionContext) allowance : Task = task {
        let transport = connection.Transport
        let lines = RequestLines(transport.Input, allowance, abort connection)
        connection.Transport <- pipeOf lines transport.Output
        connection.Features.Set<RequestLines> lines

        try
            do! next.Invoke connection
        finally
            lines.Ended()
    }

    let private serveHttp2
        (next: ConnectionDelegate)
        (connection: ConnectionContext)
        (allowance: Allowance)
        : Task = task {
        if allowance.TryTake http2Connection then
            let transport = connection.Transport
            let heads = Http2Heads(transport.Input, TimeProvider.System)
            connection.Transport <- pipeOf heads transport.Output
            connection.Features.Set<Http2Heads> heads

            try
                do! next.Invoke connection
            finally
                allowance.Return http2Connection
        else
            abort connection ()
    }

    /// Adds to an endpoint that the request lines of HTTP/1.1 are read as above, and that what its connections hold besides
    /// whole requests counts. After the choice of the protocol.
    let mend (memory: ConnectionMemory) (endpoint: ListenOptions) : unit =
        let serve (next: ConnectionDelegate) (connection: ConnectionContext) : Task = task {
            let share = memory.Shares.Enter connection.RemoteEndPoint
            connection.Features.Set<BudgetShare> share
            let allowance = Allowance(memory.Budget, null, share)

            try
                // Set where HTTP/2 was chosen.
                match connection.Features.Get<ITlsApplicationProtocolFeature>() with
                | null -> do! serveHttp1 next connection allowance
                | _ -> do! serveHttp2 next connection allowance
            finally
                memory.Shares.Leave connection.RemoteEndPoint
        }

        endpoint.Use(fun next -> ConnectionDelegate(serve next)) |> ignore
