namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// Which port of the Service is meant. A port's name always has a letter in it, so a name and a number cannot be confused.
[<RequireQualifiedAccess>]
type PortRef =
    | Named of string
    | Number of int
    /// The port that has no name, written as an empty text. Only a Service's single port may have none.
    | Unnamed

    override port.ToString() =
        match port with
        | PortRef.Named name -> name
        | PortRef.Number number -> string number
        | PortRef.Unnamed -> "without a name"

/// What a RequestClone asks for: a copy of every request to `Host`, sent to this port of this Service in its own namespace.
type CloneSpec = {
    Host: HostName
    ServiceName: string
    ServicePort: PortRef
    Delivery: DeliveryPolicy
}

/// The condition `Ready` as an object has it; whatever is missing or unreadable there is None, or empty.
type ReadyCondition = {
    /// None stands for `Unknown`.
    IsReady: bool option
    Reason: string
    Message: string
    ObservedGeneration: int64 option
    LastTransition: DateTimeOffset option
}

/// What the cluster says of an object besides its spec.
type ObservedObject = {
    Uid: string
    /// Grows with every change of the spec.
    Generation: int64
    /// The generation that the status as a whole is about (`status.observedGeneration`), as kstatus reads it.
    StatusGeneration: int64 option
    Ready: ReadyCondition option
}

/// The custom resource. One that is not valid is kept with all its faults: it is not routed, and it is reported.
type RequestClone = {
    Key: ObjectKey
    Spec: Result<CloneSpec, FieldFault list>
    /// None where the object comes from a manifest: nobody reads a status there.
    Observed: ObservedObject option
}

module PortRef =
    // Service port names are IANA service names (RFC 6335 section 5.1): the API server accepts no others.
    let private isPortName (text: string) =
        text.Length <= 15
        && text
           |> Seq.forall (fun c -> Char.IsAsciiLetterLower c || Char.IsAsciiDigit c || c = '-')
        && text |> Seq.exists Char.IsAsciiLetterLower
        && not (text.StartsWith '-' || text.EndsWith '-' || text.Contains "--")

    /// `http` is a port's name, `8080` its number; an empty text is the port without a name.
    let tryParse (text: string) : PortRef option =
        if text = "" then
            Some PortRef.Unnamed
        elif text.Length <= 5 && text |> Seq.forall Char.IsAsciiDigit then
            let number = int text

            if number >= 1 && number <= 65535 then
                Some(PortRef.Number number)
            else
                None
        elif isPortName text then
            Some(PortRef.Named text)
        else
            None

/// The fields of a spec as far as they could be read: each a value of the right type, or what is wrong instead.
type SpecFields = {
    Host: Result<string, FieldFault>
    ServiceName: Result<string, FieldFault>
    ServicePort: Result<string, FieldFault>
    BackendRequest: Result<string option, FieldFault>
    Retry: Result<int64 option, FieldFault>
    BackoffPolicy: Result<string option, FieldFault>
    BackoffDelay: Result<string option, FieldFault>
    BackoffMax: Result<string option, FieldFault>
}

module SpecFields =
    /// The three required fields, and none of the others.
    let required (host: string) (serviceName: string) (servicePort: string) = {
        Host = Ok host
        ServiceName = Ok serviceName
        ServicePort = Ok servicePort
        BackendRequest = Ok None
        Retry = Ok None
        BackoffPolicy = Ok None
        BackoffDelay = Ok None
        BackoffMax = Ok None
    }

module RequestClone =
    let private host (text: string) =
        HostName.parse text
        |> Result.mapError (fun e -> FieldFault.BadValue("spec.host", text, HostName.describeError e))

    let private serviceName (text: string) =
        if KubernetesName.isLabel text then
            Ok text
        else
            Error(
                FieldFault.BadValue(
                    "spec.backend.serviceName",
                    text,
                    "the name of a Service: at most 63 lower-case letters, digits and '-', not at an end"
                )
            )

    let private servicePort (text: string) =
        PortRef.tryParse text
        |> Result.requireSome (
            FieldFault.BadValue(
                "spec.backend.servicePort",
                text,
                "the name of a port (at most 15 lower-case letters, digits and '-'), its number from 1 to 65535, or nothing for the port without a name"
            )
        )

    let private duration field (text: string) =
        match GatewayDuration.tryParse text with
        | Some time when time >= TimeSpan.FromMilliseconds 1.0 && time <= TimeSpan.FromDays 1.0 -> Ok time
        | _ -> Error(FieldFault.BadValue(field, text, "a duration from 1ms to 24h, such as 500ms or 1m30s"))

    let private backoff (text: string) =
        match text with
        | "linear" -> Ok BackoffPolicy.Linear
        | "exponential" -> Ok BackoffPolicy.Exponential
        | _ -> Error(FieldFault.BadValue("spec.delivery.backoffPolicy", text, "linear or exponential"))

    let private retries (number: int64) =
        if number >= 0L && number <= 100L then
            Ok(int number)
        else
            Error(
                FieldFault.BadValue(
                    "spec.delivery.retry",
                    string number,
                    "a number of attempts from 0 to 100"
                )
            )

    // An optional field that was read, or the value that it has where it is not given.
    let private orElse
        (byDefault: 'T)
        (check: 'U -> Result<'T, FieldFault>)
        (read: Result<'U option, FieldFault>)
        =
        match read with
        | Ok(Some given) -> check given
        | Ok None -> Ok byDefault
        | Error fault -> Error fault

    /// Checks a spec, as far as its fields could be read at all, and reports every fault at once.
    let createSpec (fields: SpecFields) : Validation<CloneSpec, FieldFault> =
        let byDefault = DeliveryPolicy.byDefault

        validation {
            let! host = fields.Host |> Result.bind host
            and! name = fields.ServiceName |> Result.bind serviceName
            and! port = fields.ServicePort |> Result.bind servicePort

            and! timeout =
                fields.BackendRequest
                |> orElse None (duration "spec.timeouts.backendRequest" >> Result.map Some)

            and! retries = fields.Retry |> orElse byDefault.Retry.Retries retries
            and! backoff = fields.BackoffPolicy |> orElse byDefault.Retry.Backoff backoff

            and! delay =
                fields.BackoffDelay
                |> orElse byDefault.Retry.Delay (duration "spec.delivery.backoffDelay")

            and! longest =
                fields.BackoffMax
                |> orElse byDefault.Retry.Longest (duration "spec.delivery.backoffMax")

            return {
                Host = host
                ServiceName = name
                ServicePort = port
                Delivery = {
                    AttemptTimeout = timeout
                    Retry = {
                        Retries = retries
                        Backoff = backoff
                        Delay = delay
                        Longest = longest
                    }
                }
            }
        }
