namespace K8sReq.Core

open System
open System.Buffers

/// One of several blocks of memory that are read as a sequence.
[<Sealed>]
type ByteSegment(memory: ReadOnlyMemory<byte>) as this =
    inherit ReadOnlySequenceSegment<byte>()

    do this.Memory <- memory

    /// Puts `next` behind this one. To be called from the first one on.
    member segment.Follow(next: ByteSegment) : unit =
        next.StartAt(segment.RunningIndex + int64 segment.Memory.Length)
        segment.Next <- next

    member private segment.StartAt(index: int64) = segment.RunningIndex <- index
