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

/// A request's memory: `headBytes` for its head, and its body's bytes in blocks from the shared pool, all taken from
/// the budget. Filled by one writer, then read by any number of copies, then released once by whoever owns it; nothing
/// may read it after that.
[<Sealed>]
type BodyBuffer private (budget: BufferBudget, headBytes: int64, expectedLength: int64) =
    // Rented blocks grow with what has arrived, never with what a client merely announced.
    static let largestBlock = 64 * 1024
    static let smallestBlock = 4 * 1024

    let blocks = ResizeArray<byte[]>(1)
    let mutable usedOfLast = 0
    let mutable length = 0L
    let mutable taken = headBytes
    let mutable isReleased = 0

    let tryAddBlock () =
        let expected = int (min (int64 largestBlock) (expectedLength - length))
        let block = ArrayPool.Shared.Rent(max smallestBlock expected)

        if budget.TryTake block.Length then
            taken <- taken + int64 block.Length
            blocks.Add block
            usedOfLast <- 0
            true
        else
            ArrayPool.Shared.Return block
            false

    /// A buffer for a request with a head of so many bytes; None if the budget has not that much left.
    static member TryCreate
        (budget: BufferBudget, headBytes: int64, expectedLength: int64)
        : BodyBuffer option =
        if budget.TryTake headBytes then
            Some(BodyBuffer(budget, headBytes, expectedLength))
        else
            None

    /// Of the body.
    member _.Length = length

    /// Of head and body: what a copy of the request weighs.
    member _.Weight = headBytes + length

    /// Copies these bytes to the end; false if the budget does not reach for all of them.
    member buffer.TryAppend(bytes: ReadOnlySequence<byte>) : bool =
        let mutable hasRoom = true

        for part in bytes do
            hasRoom <- hasRoom && buffer.TryAppend part.Span

        hasRoom

    /// Copies these bytes to the end; false if the budget does not reach for all of them.
    member _.TryAppend(bytes: ReadOnlySpan<byte>) : bool =
        let mutable rest = bytes
        let mutable hasRoom = true

        while hasRoom && rest.Length > 0 do
            if blocks.Count = 0 || usedOfLast = blocks[blocks.Count - 1].Length then
                hasRoom <- tryAddBlock ()

            if hasRoom then
                let last = blocks[blocks.Count - 1]
                let count = min rest.Length (last.Length - usedOfLast)
                rest.Slice(0, count).CopyTo(last.AsSpan usedOfLast)
                rest <- rest.Slice count
                usedOfLast <- usedOfLast + count
                length <- length + int64 count

        hasRoom

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
        budget.Return taken
