namespace K8sReq.Core

/// What `k8sreq dead` does.
[<RequireQualifiedAccess>]
type DeadAction =
    | List
    | Show of id: string * headers: bool * body: bool
    | Replay
    | Drop

/// `k8sreq dead`, asked of a proxy that runs.
type DeadCommand = {
    Action: DeadAction
    /// Of the status page, as an address with its scheme.
    Addr: string
    /// Which dead letters are meant, as given (see `DeadLetterQuery`), with `rate`.
    Fields: (string * string) list
    IsDryRun: bool
    /// All of them are meant.
    IsAll: bool
    Output: OutputFormat
}
