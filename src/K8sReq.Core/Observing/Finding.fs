namespace K8sReq.Core

/// How good it is.
[<RequireQualifiedAccess>]
type FindingState =
    | Ok
    /// Worth a look; nothing is lost by it now.
    | Warning
    | Failed
    /// Could not be looked at, or does not apply.
    | Skipped

/// One thing that was looked at.
type Finding = {
    /// A word: part of the interface.
    Check: string
    State: FindingState
    /// What was found, and where something is wrong, what to do.
    Detail: string
}

module Finding =
    let create (state: FindingState) (check: string) (detail: string) : Finding = {
        Check = check
        State = state
        Detail = detail
    }

    let ok: string -> string -> Finding = create FindingState.Ok
    let warning: string -> string -> Finding = create FindingState.Warning
    let failed: string -> string -> Finding = create FindingState.Failed
    let skipped: string -> string -> Finding = create FindingState.Skipped

    /// In words of the interface.
    let stateName (state: FindingState) : string =
        match state with
        | FindingState.Ok -> "ok"
        | FindingState.Warning -> "warning"
        | FindingState.Failed -> "failed"
        | FindingState.Skipped -> "skipped"

    let isBad (finding: Finding) : bool = finding.State = FindingState.Failed
