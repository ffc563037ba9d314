namespace K8sReq.Core

open System.Buffers

/// A request as every target gets it. Immutable; its bytes belong to whoever captured them and are valid until the last
/// copy is done.
[<NoEquality; NoComparison>]
type CapturedRequest = {
    /// The host that it is for, as the client wrote it.
    Host: string
    /// Whether its method is HEAD: the answer then has no body, whatever its head says.
    IsHead: bool
    /// Head and body, ready to be sent.
    Wire: ReadOnlySequence<byte>
}
