namespace K8sReq.Core

open System
open System.Buffers
open System.Text

/// A request as every target gets it. Immutable; its bytes belong to the buffer that they were captured into and are valid
/// until the last copy is done.
[<NoEquality; NoComparison>]
type CapturedRequest = {
    /// The host that it is for, as the client wrote it.
    Host: string
    Method: string
    /// Head and body, ready to be sent.
    Wire: ReadOnlySequence<byte>
    /// Where in it the head's last field ends, and another one can be put.
    FieldsEnd: int64
} with

    /// The answer to HEAD has no body, whatever its head says.
    member request.IsHead = request.Method = "HEAD"

module CapturedRequest =
    // What is in one piece is sent by one call to the system, which costs more than copying as much as this.
    let private longestPiece = 16L * 1024L

    let private hostField = "Host: "B
    let private lineEnd = "\r\n"B

    let private lengthOf (text: string | null) =
        match text with
        | null -> 0
        | text -> text.Length

    let private isAny (names: string[]) (name: ReadOnlySpan<byte>) =
        let mutable isFound = false

        for wanted in names do
            isFound <-
                isFound
                || (wanted.Length = name.Length && Ascii.EqualsIgnoreCase(name, wanted.AsSpan()))

        isFound

    let private put (bytes: ReadOnlySpan<byte>) (rest: Span<byte>) : Span<byte> =
        bytes.CopyTo rest
        rest.Slice bytes.Length

    let private putText (text: string) (rest: Span<byte>) : Span<byte> =
        rest.Slice(Encoding.Latin1.GetBytes(text.AsSpan(), rest))

    // Method, target and version, with the line's end.
    let private putFirstLine
        (line: ReadOnlySpan<byte>)
        (target: string | null)
        (rest: Span<byte>)
        : Span<byte> =
        match target with
        | null -> put line rest
        | target ->
            let rest = put (line.Slice(0, line.IndexOf(byte ' ') + 1)) rest
            let rest = putText target rest
            put (line.Slice(line.LastIndexOf(byte ' '))) rest

    // Writes the changed head to the beginning of the piece; how long it is.
    let private writeHead (head: ReadOnlySpan<byte>) (change: HeadChange) (piece: byte[]) : int =
        let mutable left = head
        let mutable lineLength = left.IndexOf(byte '\n') + 1

        let mutable rest =
            putFirstLine (left.Slice(0, lineLength)) change.Target (piece.AsSpan())

        left <- left.Slice lineLength

        while not left.IsEmpty do
            lineLength <- left.IndexOf(byte '\n') + 1
            let name = left.Slice(0, left.IndexOf(byte ':'))

            if not (isAny change.Removed name) then
                match change.Host with
                | null -> rest <- put (left.Slice(0, lineLength)) rest
                | host when Ascii.EqualsIgnoreCase(name, "Host".AsSpan()) ->
                    rest <- put (ReadOnlySpan hostField) rest
                    rest <- putText host rest
                    rest <- put (ReadOnlySpan lineEnd) rest
                | _ -> rest <- put (left.Slice(0, lineLength)) rest

            left <- left.Slice lineLength

        rest <- WireHead.writeLines change.Added rest
        piece.Length - rest.Length

    // Of what follows the fields: what is put behind the changed ones. A short body is copied with the head, a longer one is not.
    let private copiedOf (request: CapturedRequest) : int =
        if request.Wire.Length <= longestPiece then
            int (request.Wire.Length - request.FieldsEnd)
        else
            // The empty line.
            2

    /// How many bytes `withHeadIn` writes at the most.
    let roomFor (change: HeadChange) (request: CapturedRequest) : int =
        int request.FieldsEnd
        + WireHead.linesLength change.Added
        + lengthOf change.Target
        + lengthOf change.Host
        + copiedOf request

    /// The request with another head, which is written to the piece. It is valid as long as both the request and the piece are.
    let withHeadIn (piece: byte[]) (change: HeadChange) (request: CapturedRequest) : CapturedRequest =
        let fieldsEnd = int request.FieldsEnd
        let copied = copiedOf request
        let first = request.Wire.FirstSpan

        let length =
            if first.Length >= fieldsEnd then
                writeHead (first.Slice(0, fieldsEnd)) change piece
            else
                writeHead (ReadOnlySpan(request.Wire.Slice(0, fieldsEnd).ToArray())) change piece

        request.Wire.Slice(fieldsEnd, copied).CopyTo(piece.AsSpan length)
        let changed = ReadOnlyMemory(piece, 0, length + copied)
        let rest = request.Wire.Slice(fieldsEnd + copied)

        let wire =
            if rest.IsEmpty then
                ReadOnlySequence changed
            else
                let first = ByteSegment changed
                let mutable last = first

                for memory in rest do
                    let next = ByteSegment memory
                    last.Follow next
                    last <- next

                ReadOnlySequence(first, 0, last, last.Memory.Length)

        {
            request with
                Wire = wire
                FieldsEnd = int64 length
        }

    /// The request with another head, in memory of its own.
    let withHead (change: HeadChange) (request: CapturedRequest) : CapturedRequest =
        if HeadChange.isNone change then
            request
        else
            withHeadIn (GC.AllocateUninitializedArray<byte>(roomFor change request)) change request

    /// Path and query, as the copy's first line has them.
    let target (request: CapturedRequest) : string =
        let head = request.Wire.Slice(0, request.FieldsEnd)
        let lineEnd = head.PositionOf(byte '\r')

        if lineEnd.HasValue then
            let line = head.Slice(head.Start, lineEnd.Value)

            match Encoding.Latin1.GetString(&line).Split ' ' with
            | [| _; target; _ |] -> target
            | _ -> ""
        else
            ""

    /// The request's head, read from the copy's: without the fields that copies do not carry, and with our Via.
    let head (request: CapturedRequest) : RequestHead =
        let text = request.Wire.Slice(0, request.FieldsEnd)

        let lines =
            Encoding.Latin1.GetString(&text).Split("\r\n", StringSplitOptions.RemoveEmptyEntries)

        let fields: HeaderLine[] = [|
            for line in Seq.skip 1 lines do
                let colon = line.IndexOf ':'
                struct (line.Substring(0, colon), line.Substring(colon + 2))
        |]

        RequestHead.create request.Method (target request) request.Host false fields

/// What a copy tells of itself where its RequestClone asks for it: `K8sReq-Request-Id`, the same in every copy, attempt and
/// replay of a request, and `K8sReq-Attempt`, from 1.
module CopyIdentity =
    let private idField = "K8sReq-Request-Id"
    let private attemptField = "K8sReq-Attempt"

    /// What this attempt puts into the head. Fields of these names that the sender wrote are replaced: the receiver relies on
    /// ours.
    let change (id: Guid) (attempt: int) : HeadChange =
        HeadChange.setting [| struct (idField, id.ToString()); struct (attemptField, string attempt) |]
