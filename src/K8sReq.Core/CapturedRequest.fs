namespace K8sReq.Core

open System
open System.Buffers
open System.Text

/// A request as every target gets it. Immutable; its bytes belong to whoever captured them and are valid until the last
/// copy is done.
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
    /// The same request with further fields at the end of its head. The bytes that were there are not copied.
    let withFields (lines: HeaderLine list) (request: CapturedRequest) : CapturedRequest =
        let block =
            lines
            |> List.map (fun (struct (name, value)) -> $"{name}: {value}\r\n")
            |> String.concat ""
            |> Encoding.Latin1.GetBytes

        let first = Segment(ReadOnlyMemory<byte>.Empty, 0L)
        let mutable last = first

        for memory in request.Wire.Slice(0L, request.FieldsEnd) do
            last <- last.Append memory

        last <- last.Append(ReadOnlyMemory block)

        for memory in request.Wire.Slice request.FieldsEnd do
            last <- last.Append memory

        {
            request with
                Wire = ReadOnlySequence(first, 0, last, last.Memory.Length)
                FieldsEnd = request.FieldsEnd + int64 block.Length
        }
