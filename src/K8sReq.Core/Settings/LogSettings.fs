namespace K8sReq.Core

/// How much is logged, each including those after it.
[<RequireQualifiedAccess>]
type LogDetail =
    | Debug
    | Info
    | Warning
    | Error

[<RequireQualifiedAccess>]
type LogFormat =
    | Console
    /// One object a line.
    | Json
