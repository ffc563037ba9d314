module K8sReq.Core.Tests.TelemetrySettingsTests

open System
open Expecto
open K8sReq.Core

let private read (variables: (string * string) list) =
    TelemetrySettings.ofEnvironment (Map variables)

let private endpoints variables =
    let settings = read variables

    let url (sent: OtlpSettings option) =
        sent |> Option.map (fun sent -> string sent.Endpoint)

    url settings.Traces, url settings.Metrics

let private all url = [ "OTEL_EXPORTER_OTLP_ENDPOINT", url ]

let private goesTo name variables expected = test name {
    Expect.equal (endpoints variables) expected "where to"
}

let tests =
    testList "TelemetrySettings" [
        goesTo "nothing without an endpoint" [ "OTEL_TRACES_SAMPLER", "always_on" ] (None, None)
        goesTo "an empty one is none" (all "") (None, None)

        goesTo
            "over gRPC the address is all"
            (all "http://collector:4317")
            (Some "http://collector:4317/", Some "http://collector:4317/")

        goesTo
            "over HTTP each kind has a path below what is said of all"
            (all "https://collector:4318/otlp/"
             @ [ "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf" ])
            (Some "https://collector:4318/otlp/v1/traces", Some "https://collector:4318/otlp/v1/metrics")

        goesTo
            "what is said of one kind alone is taken as it is"
            [
                "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/here"
            ]
            (Some "http://collector:4318/here", None)

        goesTo
            "without a scheme, over TLS"
            (all "collector:4317")
            (Some "https://collector:4317/", Some "https://collector:4317/")

        goesTo
            "or not, as asked"
            (all "collector:4317" @ [ "OTEL_EXPORTER_OTLP_INSECURE", "true" ])
            (Some "http://collector:4317/", Some "http://collector:4317/")

        goesTo "disabled" (all "http://x:1" @ [ "OTEL_SDK_DISABLED", "TRUE" ]) (None, None)
        goesTo
            "not this kind"
            (all "http://x:1" @ [ "OTEL_TRACES_EXPORTER", "none" ])
            (None, Some "http://x:1/")

        test "an endpoint that is none is a problem, told without what was given" {
            for wrong in [ "ftp://secret"; "http://"; "secret secret"; "unix:///secret" ] do
                let settings = read (all wrong)
                Expect.equal (settings.Traces, settings.Metrics) (None, None) "not exported"
                Expect.hasLength settings.Problems 2 "both"

                for problem in settings.Problems do
                    Expect.stringStarts problem "OTEL_EXPORTER_OTLP_ENDPOINT is no " "which"
                    Expect.isFalse (problem.Contains "secret") "not what"
        }

        test "the nearer one counts, what cannot be read is as if it were not there" {
            let settings =
                read (
                    all "http://x:1"
                    @ [
                        "OTEL_EXPORTER_OTLP_HEADERS", "a=1"
                        "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=2"
                        "OTEL_EXPORTER_OTLP_TIMEOUT", "1500"
                        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon"
                        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"
                        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"
                        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/traces.pem"
                        "OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"
                    ]
                )

            match settings.Traces, settings.Metrics with
            | Some traces, Some metrics ->
                Expect.equal (traces.Headers, metrics.Headers) ("a=2", "a=1") "headers"

                Expect.equal
                    (traces.Timeout, metrics.Timeout)
                    (TimeSpan.FromSeconds 1.5, TimeSpan.FromSeconds 10.0)
                    "timeouts"

                Expect.equal
                    (traces.Protocol, metrics.Protocol)
                    (OtlpProtocol.HttpProtobuf, OtlpProtocol.Grpc)
                    "protocols"

                Expect.equal
                    (traces.Certificate, metrics.Certificate)
                    (Some "/traces.pem", None)
                    "certificates"

                Expect.equal (traces.ClientKey, metrics.ClientKey) (Some "/key.pem", Some "/key.pem") "keys"
            | missing -> failwith $"{missing}"
        }

        for names, forms in
            [
                "none", []
                "baggage", []
                "b3, tracecontext", [ TraceForm.B3Single; TraceForm.W3C ]
                "tracecontext,baggage,b3multi,b3multi", [ TraceForm.W3C; TraceForm.B3Multi ]
                "", [ TraceForm.W3C; TraceForm.B3Single; TraceForm.B3Multi ]
            ] do
            test $"propagators: {names}" {
                Expect.equal (read [ "OTEL_PROPAGATORS", names ]).TraceForms forms "the most important first"
            }
    ]
