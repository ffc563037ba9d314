namespace K8sReq.TestKit

open System
open System.Threading.Tasks

/// The published program over a folder of manifests, as its users start it with variables of OpenTelemetry's: they are
/// the whole process's, so each test has one of its own.
[<Sealed>]
type TracedProgram private (folder: TestFolder, program: PublishedProgram, port: int, metricsPort: int) =

    /// What OTEL_… variables make a receiver of either protocol, with everything sent soon.
    static member Variables(receiver: OtlpReceiver, protocol: string) : (string * string) list =
        let port =
            if protocol = "grpc" then
                receiver.GrpcPort
            else
                receiver.HttpPort

        [
            "OTEL_EXPORTER_OTLP_ENDPOINT", $"http://127.0.0.1:{port}"
            "OTEL_EXPORTER_OTLP_PROTOCOL", protocol
            yield! TracedProgram.Soon
        ]

    static member Soon = [ "OTEL_BSP_SCHEDULE_DELAY", "50"; "OTEL_METRIC_EXPORT_INTERVAL", "100" ]

    static member Start
        (manifests: string, variables: (string * string) list, ?more: string list)
        : Task<TracedProgram> = task {
        let folder = new TestFolder()
        folder.Write("all.yaml", manifests)

        let program =
            PublishedProgram.Start(
                [
                    "--manifests"
                    folder.Path
                    "--http-addr=127.0.0.1:0"
                    "--probe-addr=127.0.0.1:0"
                    "--metrics-addr=127.0.0.1:0"
                    "--status-addr=127.0.0.1:0"
                ]
                @ defaultArg more [],
                variables
            )

        let! port = program.Says @"Proxy listening on port (\d+)"
        let! metricsPort = program.Says @"Metrics listening on port (\d+)"
        return new TracedProgram(folder, program, int port, int metricsPort)
    }

    member _.Folder = folder
    member _.Program = program
    member _.Port = port
    member _.MetricsPort = metricsPort

    /// Sends a request for a.example with these fields; it must be accepted.
    member _.Send(start: string, fields: (string * string) list, ?body: string) : Task<unit> = task {
        let body = defaultArg body ""

        let lines =
            fields
            |> List.map (fun (name, value) -> $"{name}: {value}\r\n")
            |> String.concat ""

        let! answer =
            TestClient.roundTrip
                port
                $"{start} HTTP/1.1\r\nHost: a.example\r\n{lines}Content-Length: {body.Length}\r\n\r\n{body}"

        if TestClient.status answer <> 202 then
            failwith $"{answer.Start} {answer.Text}"
    }

    /// Stops it as its users do. What has not been exported is, before it ends.
    member _.Stop() : Task<unit> = task {
        program.Terminate()
        let! code = program.ExitCode()

        if code <> 0 then
            failwith $"exit code {code}: {program.Errors}"
    }

    interface IDisposable with
        member _.Dispose() =
            (program :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()
