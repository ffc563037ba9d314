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

    /// The same request with further fields at the end of its head. Its head is copied, and a short body with it; a
    /// longer body is not.
    let withFields (lines: HeaderLine[]) (request: CapturedRequest) : CapturedRequest =
        if lines.Length = 0 then
            request
        else
            let added = WireHead.linesLength lines
            let fieldsEnd = int request.FieldsEnd

            let copied =
                if request.Wire.Length <= longestPiece then
                    int request.Wire.Length
                else
                    // With the empty line.
                    fieldsEnd + 2

            let piece = GC.AllocateUninitializedArray<byte>(copied + added)
            request.Wire.Slice(0, fieldsEnd).CopyTo(piece.AsSpan())
            let _ = WireHead.writeLines lines (piece.AsSpan fieldsEnd)
            request.Wire.Slice(fieldsEnd, copied - fieldsEnd).CopyTo(piece.AsSpan(fieldsEnd + added))
            let rest = request.Wire.Slice copied

            let wire =
                if rest.IsEmpty then
                    ReadOnlySequence piece
                else
                    let first = ByteSegment(ReadOnlyMemory piece)
                    let mutable last = first

                    for memory in rest do
                        let next = ByteSegment memory
                        last.Follow next
                        last <- next

                    ReadOnlySequence(first, 0, last, last.Memory.Length)

            {
                request with
                    Wire = wire
                    FieldsEnd = request.FieldsEnd + int64 added
            }

    /// The same request without the fields of these names, of which most requests have none.
    let withoutFields (names: string list) (request: CapturedRequest) : CapturedRequest =
        let head = request.Wire.Slice(0, request.FieldsEnd).ToArray()
        let kept = ResizeArray<byte>(head.Length)
        let mutable lineStart = 0

        let isAny (name: string) =
            names
            |> List.exists (fun unwanted -> unwanted.Equals(name, StringComparison.OrdinalIgnoreCase))

        while lineStart < head.Length do
            let lineEnd = Array.IndexOf(head, byte '\n', lineStart) + 1
            let colon = Array.IndexOf(head, byte ':', lineStart, lineEnd - lineStart)

            // The first line is no field: a target may have a colon.
            let isUnwanted =
                lineStart > 0
                && colon >= 0
                && isAny (Encoding.Latin1.GetString(head, lineStart, colon - lineStart))

            if not isUnwanted then
                kept.AddRange(ArraySegment(head, lineStart, lineEnd - lineStart))

            lineStart <- lineEnd

        if kept.Count = head.Length then
            request
        else
            let first = ByteSegment(ReadOnlyMemory(kept.ToArray()))
            let mutable last = first

            for memory in request.Wire.Slice request.FieldsEnd do
                let next = ByteSegment memory
                last.Follow next
                last <- next

            {
                request with
                    Wire = ReadOnlySequence(first, 0, last, last.Memory.Length)
                    FieldsEnd = int64 kept.Count
            }

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

/// What a copy tells of itself where its RequestClone asks for it: `K8sReq-Request-Id`, the same in every copy, attempt and
/// replay of a request, and `K8sReq-Attempt`, from 1.
module CopyIdentity =
    let private idField = "K8sReq-Request-Id"
    let private attemptField = "K8sReq-Attempt"

    /// The request as this attempt sends it. Fields of these names that the sender wrote are replaced: the receiver relies on
    /// ours.
    let apply (id: Guid) (attempt: int) (request: CapturedRequest) : CapturedRequest =
        request
        |> CapturedRequest.withoutFields [ idField; attemptField ]
        |> CapturedRequest.withFields [|
            struct (idField, id.ToString())
            struct (attemptField, string attempt)
        |]
