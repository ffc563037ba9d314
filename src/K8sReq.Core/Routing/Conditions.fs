namespace K8sReq.Core

open System

/// What the condition `Ready` should say of a RequestClone, or says.
type Readiness = {
    IsReady: bool
    /// One word for programs.
    Reason: string
    /// One line for people.
    Message: string
}

/// A condition to be written to a RequestClone's status.
type StatusPatch = {
    Key: ObjectKey
    Uid: string
    Readiness: Readiness
    ObservedGeneration: int64
    /// When `Ready` became true or false.
    LastTransition: DateTimeOffset
    /// Whether it is something new, worth an event, and not just a line that is worded otherwise.
    IsTransition: bool
}

/// The Ready condition: what it should be, and what has to be written for that.
module Conditions =
    // The API server takes no longer messages.
    let private longestMessage = 32768

    /// Reasons are part of the interface: alerts and scripts go by them.
    let private reasonOf (error: ResolutionError) =
        match error with
        | ResolutionError.InvalidSpec _ -> "InvalidSpec"
        | ResolutionError.ServiceNotFound _ -> "ServiceNotFound"
        | ResolutionError.ServiceUnreadable _ -> "ServiceUnreadable"
        | ResolutionError.ServiceHeadless _ -> "ServiceHeadless"
        | ResolutionError.ServiceExternalName _ -> "ServiceExternalName"
        | ResolutionError.ServiceWithoutAddress _ -> "ServiceAddressMissing"
        | ResolutionError.ServicePortNotFound _ -> "ServicePortNotFound"
        | ResolutionError.ServicePortNotTcp _ -> "ServicePortNotTcp"
        | ResolutionError.ServiceAddressRefused _ -> "ServiceAddressRefused"
        | ResolutionError.TooManyForHost _ -> "TooManyForHost"
        | ResolutionError.ServicePortProtocolUnsupported _ -> "ServicePortProtocolUnsupported"
        | ResolutionError.JournalNotConfigured -> "JournalNotConfigured"

    let private cut (message: string) =
        if message.Length <= longestMessage then
            message
        else
            message.Substring(0, longestMessage)

    let wanted (resolved: Result<Target, ResolutionError>) : Readiness =
        match resolved with
        | Ok target -> {
            IsReady = true
            Reason = "ServiceBackendReady"
            Message =
                $"Requests for {target.Host} are copied to Service {target.Service} at {target.Endpoint}"
          }
        | Error error -> {
            IsReady = false
            Reason = reasonOf error
            Message = cut (Resolution.describeError error)
          }

    /// What is left to be said of a RequestClone that was selected by its labels and is no more: nobody here copies requests
    /// for it. None if nothing was ever written to it. Of one that was deleted the API server says so.
    let notSelected (now: DateTimeOffset) (selector: string) (last: ResolvedClone) : StatusPatch option =
        last.Clone.Observed
        |> Option.map (fun observed -> {
            Key = last.Clone.Key
            Uid = observed.Uid
            Readiness = {
                IsReady = false
                Reason = "NotSelected"
                Message =
                    $"Its labels do not match WATCH_LABEL_SELECTOR ({selector}) any more: requests are not copied"
            }
            ObservedGeneration = observed.Generation
            // As ever, the time of the status, not of the reason.
            LastTransition =
                observed.Ready
                |> Option.filter (fun ready -> ready.IsReady = Some false)
                |> Option.bind _.LastTransition
                |> Option.defaultValue now
            IsTransition = false
        })

    /// What has to be written so that the status says what is so; None if it does already, or if the object has no
    /// status of its own (a manifest).
    let plan (now: DateTimeOffset) (resolved: ResolvedClone) : StatusPatch option =
        match resolved.Clone.Observed with
        | None -> None
        | Some observed ->
            let wanted = wanted resolved.Resolved

            let patch lastTransition isTransition =
                Some {
                    Key = resolved.Clone.Key
                    Uid = observed.Uid
                    Readiness = wanted
                    ObservedGeneration = observed.Generation
                    LastTransition = lastTransition
                    IsTransition = isTransition
                }

            match observed.Ready with
            | Some ready when
                ready.IsReady = Some wanted.IsReady
                && ready.Reason = wanted.Reason
                && ready.Message = wanted.Message
                && ready.ObservedGeneration = Some observed.Generation
                && observed.StatusGeneration = Some observed.Generation
                ->
                None
            | Some ready when ready.IsReady = Some wanted.IsReady ->
                patch (defaultArg ready.LastTransition now) (ready.Reason <> wanted.Reason)
            | _ -> patch now true
