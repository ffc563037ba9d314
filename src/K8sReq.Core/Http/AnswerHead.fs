namespace K8sReq.Core

open System
open System.Text

/// Where the body of an answer ends (RFC 9112 section 6.3).
[<RequireQualifiedAccess; Struct>]
type AnswerFraming =
    | NoBody
    | Sized of length: int64
    | Chunked
    /// With the connection.
    | UntilClose

/// What is needed of the head of a target's answer.
[<Struct>]
type AnswerHead = {
    Status: int
    Framing: AnswerFraming
    /// Whether the connection can serve another request after the body.
    KeepsAlive: bool
    /// The value of Retry-After as it stands there; null without one.
    RetryAfter: string | null
    /// How many bytes the head has.
    Length: int
}

/// What bytes that were received make of a head.
[<RequireQualifiedAccess; Struct>]
type HeadReading =
    /// So far it may become one.
    | Incomplete
    | Complete of head: AnswerHead
    | NoHttp of reason: string

module AnswerHead =
    /// A head that is longer is none, in bytes.
    [<Literal>]
    let Longest = 65536

    let private protocol = "HTTP/1."B
    // "HTTP/1.1 200", of which the reason phrase may follow.
    let private statusLine = 12

    let private isDigit (byte: byte) = byte >= '0'B && byte <= '9'B

    let private isNamed (name: byte[]) (field: ReadOnlySpan<byte>) =
        Ascii.EqualsIgnoreCase(field, ReadOnlySpan name)

    // The last member of a list: transfer codings are listed in the order in which they were applied.
    let private lastMember (value: ReadOnlySpan<byte>) : ReadOnlySpan<byte> =
        MessageSyntax.trim (value.Slice(value.LastIndexOf ','B + 1))

    let rec private hasMember (name: byte[]) (value: ReadOnlySpan<byte>) : bool =
        let comma = value.IndexOf ','B

        if comma < 0 then
            isNamed name (MessageSyntax.trim value)
        else
            isNamed name (MessageSyntax.trim (value.Slice(0, comma)))
            || hasMember name (value.Slice(comma + 1))

    let private valueAfter (colon: int) (line: ReadOnlySpan<byte>) : ReadOnlySpan<byte> =
        MessageSyntax.trim (line.Slice(colon + 1))

    // -1 for what is no length.
    let private lengthOf (value: ReadOnlySpan<byte>) : int64 =
        let mutable length = 0L
        let mutable isLength = value.Length > 0 && value.Length <= 18

        for byte in value do
            if isDigit byte then
                length <- length * 10L + int64 (byte - '0'B)
            else
                isLength <- false

        if isLength then length else -1L

    /// The head at the beginning of what was received. `isHeadRequest` is whether the request's method was HEAD: its
    /// answer says how long a body would be, and has none. Line ends may be bare line feeds, as RFC 9112 section 2.2
    /// allows. Never reads beyond the span, whatever is in it.
    let read (isHeadRequest: bool) (received: ReadOnlySpan<byte>) : HeadReading =
        let prefix = min received.Length protocol.Length

        if not (received.Slice(0, prefix).SequenceEqual(ReadOnlySpan(protocol, 0, prefix))) then
            HeadReading.NoHttp "it does not begin with HTTP/1"
        elif received.Length < statusLine then
            HeadReading.Incomplete
        elif
            not (
                isDigit received[7]
                && received[8] = ' 'B
                && isDigit received[9]
                && isDigit received[10]
                && isDigit received[11]
                && received[9] > '0'B
            )
        then
            HeadReading.NoHttp "its first line has no status"
        else
            let status =
                100 * int (received[9] - '0'B)
                + 10 * int (received[10] - '0'B)
                + int (received[11] - '0'B)

            let mutable keepsAlive = received[7] > '0'B
            let mutable length = ValueNone
            let mutable isChunked = false
            let mutable hasCoding = false
            let mutable retryAfter: string | null = null
            let mutable reason: string | null = null
            let mutable position = 0
            let mutable isComplete = false
            let mutable isOver = false

            while not isOver do
                let rest = received.Slice position
                let lineEnd = rest.IndexOf '\n'B

                if lineEnd < 0 then
                    isOver <- true
                else
                    let line = rest.Slice(0, lineEnd).TrimEnd '\r'B
                    let isFirst = position = 0
                    position <- position + lineEnd + 1

                    if isFirst then
                        if line.Length > statusLine && line[statusLine] <> ' 'B then
                            reason <- "its first line has no status"
                    elif line.IsEmpty then
                        isComplete <- true
                    // A line that begins with a space goes on with the one before it; none of ours does.
                    elif not (MessageSyntax.isSpace line[0]) then
                        let colon = line.IndexOf ':'B

                        if colon <= 0 then
                            reason <- "its head has a line that is no field"
                        else
                            let name = line.Slice(0, colon)

                            match name.Length with
                            | 14 when isNamed "Content-Length"B name ->
                                // Two that differ mean that somebody is being lied to: the connection is not used again.
                                let stated = lengthOf (valueAfter colon line)

                                match length with
                                | ValueSome before when before <> stated -> length <- ValueSome -1L
                                | _ -> length <- ValueSome stated
                            | 17 when isNamed "Transfer-Encoding"B name ->
                                hasCoding <- true
                                isChunked <- isNamed "chunked"B (lastMember (valueAfter colon line))
                            | 10 when isNamed "Connection"B name ->
                                if hasMember "close"B (valueAfter colon line) then
                                    keepsAlive <- false
                            | 11 when isNamed "Retry-After"B name ->
                                retryAfter <- Encoding.Latin1.GetString(valueAfter colon line)
                            | _ -> ()

                    isOver <- isComplete || not (isNull reason)

            match reason with
            | null when not isComplete && received.Length >= Longest ->
                HeadReading.NoHttp $"its head is longer than {Longest} bytes"
            | null when not isComplete -> HeadReading.Incomplete
            | null ->
                let isContradictory =
                    match length with
                    | ValueSome -1L -> true
                    | _ -> false

                let framing =
                    if isHeadRequest || status < 200 || status = 204 || status = 304 then
                        AnswerFraming.NoBody
                    elif isChunked then
                        AnswerFraming.Chunked
                    elif hasCoding then
                        AnswerFraming.UntilClose
                    else
                        match length with
                        | ValueSome length when length >= 0L -> AnswerFraming.Sized length
                        | _ -> AnswerFraming.UntilClose

                HeadReading.Complete {
                    Status = status
                    Framing = framing
                    // Both fields at once are how answers are smuggled; 101 speaks something else from here on.
                    KeepsAlive =
                        keepsAlive
                        && not framing.IsUntilClose
                        && not (hasCoding && length.IsSome)
                        && not isContradictory
                        && status <> 101
                    RetryAfter = retryAfter
                    Length = position
                }
            // Last: the pattern `NonNull` makes an object of each value in native code.
            | reason -> HeadReading.NoHttp reason
