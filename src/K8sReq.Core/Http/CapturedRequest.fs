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

[<Sealed>]
type private Segment(memory: ReadOnlyMemory<byte>, start: int64) as this =
    inherit ReadOnlySequenceSegment<byte>()

    do
        this.Memory <- memory
        this.RunningIndex <- start

    member _.Append(memory: ReadOnlyMemory<byte>) : Segment =
        let next = Segment(memory, this.RunningIndex + int64 this.Memory.Length)
        this.Next <- next
        next

module CapturedRequest =
    // What is in one piece is sent by one call to the system, which costs more than copying as much as this.
    let private longestPiece = 16L * 1024L

    let private lengthOf (lines: HeaderLine[]) =
        let mutable length = 0

        for struct (name, value) in lines do
            length <- length + name.Length + value.Length + 4

        length

    let private write (lines: HeaderLine[]) (destination: Span<byte>) =
        let mutable rest = destination

        for struct (name, value) in lines do
            rest <- rest.Slice(Encoding.Latin1.GetBytes(name.AsSpan(), rest))
            ": "B.CopyTo rest
            rest <- rest.Slice 2
            rest <- rest.Slice(Encoding.Latin1.GetBytes(value.AsSpan(), rest))
            "\r\n"B.CopyTo rest
            rest <- rest.Slice 2

    /// The same request with further fields at the end of its head. Its head is copied, and a short body with it; a
    /// longer body is not.
    let withFields (lines: HeaderLine[]) (request: CapturedRequest) : CapturedRequest =
        if lines.Length = 0 then
            request
        else
            let added = lengthOf lines
            let fieldsEnd = int request.FieldsEnd

            let copied =
                if request.Wire.Length <= longestPiece then
                    int request.Wire.Length
                else
                    // With the empty line.
                    fieldsEnd + 2

            let piece = GC.AllocateUninitializedArray<byte>(copied + added)
            request.Wire.Slice(0, fieldsEnd).CopyTo(piece.AsSpan())
            write lines (piece.AsSpan fieldsEnd)
            request.Wire.Slice(fieldsEnd, copied - fieldsEnd).CopyTo(piece.AsSpan(fieldsEnd + added))
            let rest = request.Wire.Slice copied

            let wire =
                if rest.IsEmpty then
                    ReadOnlySequence piece
                else
                    let first = Segment(ReadOnlyMemory piece, 0L)
                    let mutable last = first

                    for memory in rest do
                        last <- last.Append memory

                    ReadOnlySequence(first, 0, last, last.Memory.Length)

            {
                request with
                    Wire = wire
                    FieldsEnd = request.FieldsEnd + int64 added
            }
