namespace K8sReq.Host.Http

open System
open System.Buffers
open System.Threading

type private Segment(memory: ReadOnlyMemory<byte>) =
    inherit ReadOnlySequenceSegment<byte>()
    do base.Memory <- memory

    member segment.Follow(next: Segment) =
        next.StartAt(segment.RunningIndex + int64 segment.Memory.Length)
        segment.Next <- next

    member private segment.StartAt(index: int64) = segment.RunningIndex <- index

/// A body's bytes in memory from the shared pool. Filled by one writer, then read by any number of copies, then
/// released once by whoever owns it; nothing may read it after that.
[<Sealed>]
type BodyBuffer(expectedLength: int64) =
    // Rented blocks grow with what has arrived, never with what a client merely announced.
    static let largestBlock = 64 * 1024
    static let smallestBlock = 4 * 1024

    let blocks = ResizeArray<byte[]>(1)
    let mutable usedOfLast = 0
    let mutable length = 0L
    let mutable isReleased = 0

    let addBlock () =
        let expected = int (min (int64 largestBlock) (expectedLength - length))
        blocks.Add(ArrayPool.Shared.Rent(max smallestBlock expected))
        usedOfLast <- 0

    member _.Length = length

    /// Copies these bytes to the end.
    member buffer.Append(bytes: ReadOnlySequence<byte>) =
        for part in bytes do
            buffer.Append part.Span

    /// Copies these bytes to the end.
    member _.Append(bytes: ReadOnlySpan<byte>) =
        let mutable rest = bytes

        while rest.Length > 0 do
            if blocks.Count = 0 || usedOfLast = blocks[blocks.Count - 1].Length then
                addBlock ()

            let last = blocks[blocks.Count - 1]
            let count = min rest.Length (last.Length - usedOfLast)
            rest.Slice(0, count).CopyTo(last.AsSpan usedOfLast)
            rest <- rest.Slice count
            usedOfLast <- usedOfLast + count
            length <- length + int64 count

    /// All bytes, in order. Valid until the release.
    member _.Bytes: ReadOnlySequence<byte> =
        let used index =
            if index = blocks.Count - 1 then
                usedOfLast
            else
                blocks[index].Length

        let memory index =
            ReadOnlyMemory(blocks[index], 0, used index)

        if blocks.Count = 0 then
            ReadOnlySequence.Empty
        elif blocks.Count = 1 then
            ReadOnlySequence(memory 0)
        else
            let first = Segment(memory 0)
            let mutable last = first

            for index in 1 .. blocks.Count - 1 do
                let next = Segment(memory index)
                last.Follow next
                last <- next

            ReadOnlySequence(first, 0, last, last.Memory.Length)

    /// Gives the memory back. A second release is a defect that would hand one block to two requests: it throws.
    member _.Release() =
        if Interlocked.Exchange(&isReleased, 1) = 1 then
            invalidOp "This body was released before."

        for block in blocks do
            ArrayPool.Shared.Return block

        blocks.Clear()
