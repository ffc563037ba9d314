namespace K8sReq.Core

open System
open System.Globalization

/// How a collector is spoken to.
[<RequireQualifiedAccess>]
type OtlpProtocol =
    | Grpc
    | HttpProtobuf

/// Where telemetry of one kind is sent, and how.
type OtlpSettings = {
    /// As the standard has it: over gRPC only its scheme, host and port count, over HTTP all of it.
    Endpoint: Uri
    Protocol: OtlpProtocol
    /// `name=value` separated by commas, values encoded as in an URL; empty for none. These are secrets.
    Headers: string
    /// For one export.
    Timeout: TimeSpan
    /// Files in PEM: who vouches for the collector, and what is shown to it.
    Certificate: string option
    ClientCertificate: string option
    ClientKey: string option
}

/// What OpenTelemetry's standard variables ask for, as far as it is decided here; the rest (samplers, resource, batches,
/// intervals) its own library reads.
type TelemetrySettings = {
    /// None: not exported.
    Traces: OtlpSettings option
    Metrics: OtlpSettings option
    /// How a head says where in a trace it is, the most important first. Empty: what came in is passed on as it is.
    TraceForms: TraceForm list
    /// What cannot be done as it was asked for, in words without the values: they may be secrets.
    Problems: string list
}

module TelemetrySettings =
    let private allForms = [ TraceForm.W3C; TraceForm.B3Single; TraceForm.B3Multi ]

    let private formsOf (names: string) : TraceForm list =
        names.Split(',', StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries)
        |> List.ofArray
        |> List.choose (fun name ->
            match name.ToLowerInvariant() with
            | "tracecontext" -> Some TraceForm.W3C
            | "b3" -> Some TraceForm.B3Single
            | "b3multi" -> Some TraceForm.B3Multi
            // Baggage is a field like any other for a proxy, and passed on; the others are not known here.
            | _ -> None)
        |> List.distinct

    let private isTrue (value: string) =
        value.Trim().Equals("true", StringComparison.OrdinalIgnoreCase)

    let private protocolOf (value: string) =
        match value.Trim() with
        | "grpc" -> Some OtlpProtocol.Grpc
        | "http/protobuf" -> Some OtlpProtocol.HttpProtobuf
        | _ -> None

    let private timeoutOf (value: string) =
        match Int32.TryParse(value.Trim(), NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, milliseconds when milliseconds > 0 -> Some(TimeSpan.FromMilliseconds(float milliseconds))
        | _ -> None

    // Without a scheme it is gRPC's `host:port`.
    let private endpointOf (isInsecure: bool) (value: string) =
        let value = value.Trim()

        let url =
            if value.Contains "://" then value
            elif isInsecure then "http://" + value
            else "https://" + value

        match Uri.TryCreate(url, UriKind.Absolute) with
        | true, NonNull uri when (uri.Scheme = "http" || uri.Scheme = "https") && uri.Host <> "" -> Some uri
        | _ -> None

    // The variable of this kind of telemetry, or else the one of all kinds.
    let private settingsOf
        (given: string -> string option)
        (signal: string)
        (path: string)
        : Result<OtlpSettings option, string> =
        let find (name: string) =
            given $"OTEL_EXPORTER_OTLP_{signal}_{name}"
            |> Option.orElse (given $"OTEL_EXPORTER_OTLP_{name}")

        let protocol =
            find "PROTOCOL"
            |> Option.bind protocolOf
            |> Option.defaultValue OtlpProtocol.Grpc

        let isInsecure = find "INSECURE" |> Option.exists isTrue

        // The path is appended to the endpoint that all kinds share.
        let ofAll (endpoint: Uri) =
            match protocol with
            | OtlpProtocol.Grpc -> endpoint
            | OtlpProtocol.HttpProtobuf ->
                let url = UriBuilder endpoint
                url.Path <- url.Path.TrimEnd '/' + path
                url.Uri

        let endpoint =
            match given $"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", given "OTEL_EXPORTER_OTLP_ENDPOINT" with
            | Some own, _ -> Some($"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", endpointOf isInsecure own)
            | None, Some all ->
                Some("OTEL_EXPORTER_OTLP_ENDPOINT", endpointOf isInsecure all |> Option.map ofAll)
            | None, None -> None

        match endpoint with
        | None -> Ok None
        | Some(name, None) ->
            Error $"{name} is no http or https address; {signal.ToLowerInvariant()} are not exported"
        | Some(_, Some endpoint) ->
            Ok(
                Some {
                    Endpoint = endpoint
                    Protocol = protocol
                    Headers = find "HEADERS" |> Option.defaultValue ""
                    Timeout =
                        find "TIMEOUT"
                        |> Option.bind timeoutOf
                        |> Option.defaultValue (TimeSpan.FromSeconds 10.0)
                    Certificate = find "CERTIFICATE"
                    ClientCertificate = find "CLIENT_CERTIFICATE"
                    ClientKey = find "CLIENT_KEY"
                }
            )

    /// From the variables of the environment. One that is empty is not set.
    let ofEnvironment (environment: Map<string, string>) : TelemetrySettings =
        let given name =
            environment.TryFind name |> Option.filter ((<>) "")

        let isDisabled = given "OTEL_SDK_DISABLED" |> Option.exists isTrue

        let exported (signal: string) (path: string) =
            let isOtlp =
                given $"OTEL_{signal}_EXPORTER"
                |> Option.forall (fun names ->
                    names.Split ',' |> Array.exists (fun name -> name.Trim() = "otlp"))

            if isOtlp && not isDisabled then
                settingsOf given signal path
            else
                Ok None

        let traces = exported "TRACES" "/v1/traces"
        let metrics = exported "METRICS" "/v1/metrics"

        {
            Traces = traces |> Result.defaultValue None
            Metrics = metrics |> Result.defaultValue None
            TraceForms = given "OTEL_PROPAGATORS" |> Option.map formsOf |> Option.defaultValue allForms
            Problems = [
                for result in [ traces; metrics ] do
                    match result with
                    | Error problem -> problem
                    | Ok _ -> ()
            ]
        }

    let private describeOne (kind: string) (settings: OtlpSettings option) =
        match settings with
        | None -> $"{kind} are not exported"
        | Some settings ->
            let protocol =
                match settings.Protocol with
                | OtlpProtocol.Grpc -> "grpc"
                | OtlpProtocol.HttpProtobuf -> "http/protobuf"

            // What else an URL can say may be a secret.
            let address =
                UriBuilder(settings.Endpoint.Scheme, settings.Endpoint.Host, settings.Endpoint.Port)

            $"{kind} go by {protocol} to {address}"

    /// What is exported and where to, in words without secrets.
    let describe (settings: TelemetrySettings) : string =
        [ describeOne "traces" settings.Traces; describeOne "metrics" settings.Metrics ]
        |> String.concat ", "
