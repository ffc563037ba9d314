namespace K8sReq.Core

/// How a command prints what it found.
[<RequireQualifiedAccess>]
type OutputFormat =
    /// For people.
    | Table
    | Json
