namespace K8sReq.Core

/// The identity of a copy within the store that keeps it: the number of its request, and which of the request's copies it is
/// (from 0).
[<Struct>]
type CopyId = {
    Request: int64
    Copy: int
} with

    override id.ToString() = $"{id.Request}-{id.Copy}"
