namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// Which port of the Service is meant. A port's name always has a letter in it, so the two cannot be confused.
[<RequireQualifiedAccess>]
type PortRef =
    | Named of string
    | Number of int

    override port.ToString() =
        match port with
        | PortRef.Named name -> name
        | PortRef.Number number -> string number

/// What a RequestClone asks for: a copy of every request to `Host`, sent to this port of this Service in its own namespace.
type CloneSpec = {
    Host: HostName
    ServiceName: string
    ServicePort: PortRef
}

/// The custom resource. One that is not valid is kept with all its faults: it is not routed, and it is reported.
type RequestClone = {
    Key: ObjectKey
    Spec: Result<CloneSpec, FieldFault list>
}

module PortRef =
    // Service port names are IANA service names (RFC 6335 section 5.1): the API server accepts no others.
    let private isPortName (text: string) =
        text.Length <= 15
        && text
           |> Seq.forall (fun c -> Char.IsAsciiLetterLower c || Char.IsAsciiDigit c || c = '-')
        && text |> Seq.exists Char.IsAsciiLetterLower
        && not (text.StartsWith '-' || text.EndsWith '-' || text.Contains "--")

    /// `http` is a port's name, `8080` its number.
    let tryParse (text: string) : PortRef option =
        if text <> "" && text.Length <= 5 && text |> Seq.forall Char.IsAsciiDigit then
            let number = int text

            if number >= 1 && number <= 65535 then
                Some(PortRef.Number number)
            else
                None
        elif isPortName text then
            Some(PortRef.Named text)
        else
            None

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
                "the name of a port (at most 15 lower-case letters, digits and '-') or its number from 1 to 65535"
            )
        )

    /// Checks the three fields of a spec, as far as each could be read at all, and reports every fault at once.
    let createSpec
        (hostText: Result<string, FieldFault>)
        (serviceNameText: Result<string, FieldFault>)
        (servicePortText: Result<string, FieldFault>)
        : Validation<CloneSpec, FieldFault> = validation {
        let! host = hostText |> Result.bind host
        and! name = serviceNameText |> Result.bind serviceName
        and! port = servicePortText |> Result.bind servicePort

        return {
            Host = host
            ServiceName = name
            ServicePort = port
        }
    }
