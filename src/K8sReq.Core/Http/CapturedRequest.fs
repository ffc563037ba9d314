namespace K8sReq.Core

open System
open System.Buffers

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
