namespace K8sReq.Core

open System

/// `k8sreq receive`: how it answers.
type ReceiverSettings = {
    Addr: ListenAddress
    Name: string
    Status: int
    /// Before each response.
    Delay: TimeSpan
    /// With this, only every so many-th request is answered with `Status`, the others with 200.
    FailEvery: int option
}

/// `k8sreq check`
type CheckCommand = {
    /// Folders, files, and `-` for standard input.
    Paths: string list
    Output: OutputFormat
}

/// What `k8sreq send` sends as the body.
[<RequireQualifiedAccess>]
type SendBody =
    | Text of string
    /// `-` for standard input.
    | File of path: string

/// `k8sreq send`: one request to a proxy.
type SendCommand = {
    /// The Host header.
    Host: string
    /// Of the proxy, as an address with its scheme.
    Addr: string
    Method: string
    /// Path and query.
    Target: string
    Headers: (string * string) list
    Body: SendBody
    /// The provider whose signature is made, and the file that has the secret.
    Sign: (WebhookProvider * string) option
}

/// `k8sreq tap`: what a proxy copies, as it happens.
type TapCommand = {
    /// Of the status page, as an address with its scheme.
    Addr: string
    Host: string option
    Clone: ObjectKey option
    OnlyFailed: bool
    /// Show path and query too.
    Paths: bool
    Output: OutputFormat
}

/// `k8sreq doctor`: looks at what the proxy needs.
type DoctorCommand = {
    /// Those of the proxy, given as it gets them.
    Settings: Settings
    Output: OutputFormat
}

/// A shell whose completion is known.
[<RequireQualifiedAccess>]
type Shell =
    | Bash
    | Zsh
    | Fish
    | PowerShell

/// What the program is asked to do.
[<RequireQualifiedAccess>]
type Command =
    | Serve of Settings
    | Check of CheckCommand
    | Receive of ReceiverSettings
    | Send of SendCommand
    | Tap of TapCommand
    | Doctor of DoctorCommand
    | Dead of DeadCommand
    /// Print what makes a journal's tables in PostgreSQL, and lets a role use them.
    | JournalSql of role: string option
    | Completion of Shell
    /// With the commit that it was built from.
    | Version of isVerbose: bool
    /// Help, for example.
    | Print of text: string
