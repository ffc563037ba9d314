namespace K8sReq.Core

open System.Buffers

/// A request as every target gets it. Immutable; the bytes of the body belong to whoever captured them and are
/// valid until the last copy is done.
[<NoEquality; NoComparison>]
type CapturedRequest = {
    Method: string
    /// Path and query, byte for byte.
    Target: string
    /// The Host field as the client wrote it.
    Host: string
    Headers: HeaderLine[]
    /// None if the request had no body, which is not the same as one of length 0.
    Body: ReadOnlySequence<byte> voption
}
