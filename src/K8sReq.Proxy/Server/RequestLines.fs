namespace K8sReq.Proxy

open System
open System.Buffers
open System.IO.Pipelines
open System.Runtime.InteropServices
open System.Text
open System.Threading.Tasks

/// A connection's input, HTTP/1.1, whose request lines Kestrel takes. As they come it refuses some that others pass on:
/// bytes above 127 in the target, which many clients send unescaped, and a scheme in capitals. It also takes one that has
/// no space before the version, for another request than was sent. A line is changed before Kestrel sees it, in place
/// and without a change of its length; the target as it was sent is kept for the copies. A feature of the
/// connection.
///
/// Where a line begins is known at the connection's start, and after a request that has been read to its end, which is to
/// be said by `MessageEnded`. Nothing else of what a client sends is ever changed.
///
/// A head that does not come at once takes `slowHead` bytes of the allowance until it has come whole; where there is no room
/// for it, `refuse` is to end the connection.
[<Sealed>]
type RequestLines internal (inner: PipeReader, allowance: Allowance, slowHead: int64, refuse: unit -> unit) =
    inherit WrappedInput(inner)

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
            let target = MemoryMarshal.AsMemory part
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

    let discharge () =
        if charged > 0L then
            // It came in pieces, and no piece says how long it was.
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

    /// Of the last head that has come whole, in bytes, or more: what came with it counts, too.
    member _.HeadLength = headLength

    /// The connection has ended.
    member internal _.Ended() =
        isInHead <- false
        discharge ()

    /// What was sent where Kestrel saw `target`.
    member _.TargetAsSent(target: string) : string =
        match asSent with
        | null -> target
        | sent -> sent

    override _.HandOn result =
        if isInHead && not result.Buffer.IsEmpty then
            hasPartOfHead <- true
            headLength <- result.Buffer.Length

        if isLineNext then
            inspect result.Buffer

        result

    // More of a head is asked for of which there is a part already: it counts as much as it can come to take.
    override _.BeforeRead() =
        if isInHead && hasPartOfHead && charged = 0L then
            if allowance.TryTake slowHead then
                charged <- slowHead
            else
                refuse ()

        Task.CompletedTask
