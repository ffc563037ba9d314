namespace K8sReq.Core

open System

/// What OpenTelemetry's standard variables ask for, as far as it is decided here; the rest its own library reads.
type TelemetrySettings = {
    /// Traces are sent to a collector.
    ExportsTraces: bool
    ExportsMetrics: bool
    /// How a head says where in a trace it is, the most important first. Empty: what came in is passed on as it is.
    TraceForms: TraceForm list
    /// The library is to make its own connections, for the certificates that it was given.
    HasCertificates: bool
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

    /// From the variables of the environment.
    let ofEnvironment (environment: Map<string, string>) : TelemetrySettings =
        let given name =
            environment.TryFind name |> Option.filter ((<>) "")

        let isDisabled =
            given "OTEL_SDK_DISABLED"
            |> Option.exists (fun value -> value.Equals("true", StringComparison.OrdinalIgnoreCase))

        let exports (signal: string) =
            let hasEndpoint =
                (given "OTEL_EXPORTER_OTLP_ENDPOINT").IsSome
                || (given $"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT").IsSome

            let isOtlp =
                given $"OTEL_{signal}_EXPORTER"
                |> Option.forall (fun names ->
                    names.Split ',' |> Array.exists (fun name -> name.Trim() = "otlp"))

            hasEndpoint && isOtlp && not isDisabled

        {
            ExportsTraces = exports "TRACES"
            ExportsMetrics = exports "METRICS"
            TraceForms = given "OTEL_PROPAGATORS" |> Option.map formsOf |> Option.defaultValue allForms
            HasCertificates =
                [ "CERTIFICATE"; "CLIENT_KEY"; "CLIENT_CERTIFICATE" ]
                |> List.exists (fun kind -> (given $"OTEL_EXPORTER_OTLP_{kind}").IsSome)
        }
