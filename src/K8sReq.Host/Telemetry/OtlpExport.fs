/// Sends traces and metrics to a collector, by OpenTelemetry's protocol (OTLP) and as its standard variables say. Whatever
/// the collector does, nobody waits for it: what it does not take is dropped.
module K8sReq.Host.Telemetry.OtlpExport

open System
open System.Collections.Generic
open System.Diagnostics.Metrics
open System.IO
open System.Net.Http
open System.Net.Security
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open FsToolkit.ErrorHandling
open OpenTelemetry
open OpenTelemetry.Exporter
open OpenTelemetry.Metrics
open OpenTelemetry.Resources
open OpenTelemetry.Trace
open K8sReq.Core
open K8sReq.Proxy

// The program's end is not to wait for a collector that does not answer; in milliseconds.
let private longestFarewell = 1500

// Series of one instrument; the library makes room for all of them at once. What is beyond is one series.
let private mostSeries = 20_000

let private resource (version: string) (instance: string) : ResourceBuilder =
    ResourceBuilder
        .CreateEmpty()
        .AddService("k8sreq", serviceVersion = version, serviceInstanceId = instance)
        .AddTelemetrySdk()
        // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
        .AddEnvironmentVariableDetector()

let private pem (name: string) (read: unit -> 'T) : Result<'T, string> =
    try
        Ok(read ())
    with
    | :? IOException
    | :? UnauthorizedAccessException
    | :? CryptographicException
    | :? ArgumentException as error -> Error $"the {name} cannot be read: {error.Message}"

// Who has to vouch for the collector, and what is shown to it.
let private tls (settings: OtlpSettings) : Result<SslClientAuthenticationOptions, string> = result {
    let options = SslClientAuthenticationOptions()

    match settings.Certificate with
    | None -> ()
    | Some file ->
        let policy =
            X509ChainPolicy(
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                // Private certificate authorities seldom publish what they have revoked.
                RevocationMode = X509RevocationMode.NoCheck
            )

        do! pem "certificate" (fun () -> policy.CustomTrustStore.ImportFromPemFile file)
        options.CertificateChainPolicy <- policy

    match settings.ClientCertificate with
    | None -> ()
    | Some file ->
        let! shown =
            pem "client's certificate" (fun () ->
                X509Certificate2.CreateFromPemFile(file, Option.toObj settings.ClientKey))

        options.ClientCertificates <- X509CertificateCollection [| shown :> X509Certificate |]

    return options
}

let private connect
    (settings: OtlpSettings)
    (tls: SslClientAuthenticationOptions)
    (options: OtlpExporterOptions)
    =
    options.Endpoint <- settings.Endpoint

    options.Protocol <-
        match settings.Protocol with
        | OtlpProtocol.Grpc -> OtlpExportProtocol.Grpc
        | OtlpProtocol.HttpProtobuf -> OtlpExportProtocol.HttpProtobuf

    options.Headers <- settings.Headers
    options.TimeoutMilliseconds <- int settings.Timeout.TotalMilliseconds

    options.HttpClientFactory <-
        fun () ->
            let handler = new SocketsHttpHandler(UseProxy = false, SslOptions = tls)
            InlineSockets.elsewhere handler
            new HttpClient(handler, true, Timeout = settings.Timeout)

// The settings of a kind of telemetry that can be exported, with what its connections need.
let private usable
    (report: string -> unit)
    (kind: string)
    (settings: OtlpSettings option)
    : Action<OtlpExporterOptions> option =
    match settings with
    | None -> None
    | Some settings ->
        match tls settings with
        | Ok tls -> Some(Action<OtlpExporterOptions>(connect settings tls))
        | Error reason ->
            report $"{kind} are not exported: {reason}"
            None

// The figures of one moment, for the instruments that are read one after the other.
let private snapshots
    (clock: TimeProvider)
    (families: unit -> MetricFamily list)
    : unit -> MetricFamily list =
    // Guarded by `gate`: the families as they were when they were last taken, for a second.
    let mutable taken: struct (int64 * MetricFamily list) voption = ValueNone
    let gate = Threading.Lock()

    fun () ->
        exclusively gate (fun () ->
            match taken with
            | ValueSome(struct (at, families)) when clock.GetElapsedTime at < TimeSpan.FromSeconds 1.0 ->
                families
            | _ ->
                let now = families ()
                taken <- ValueSome(struct (clock.GetTimestamp(), now))
                now)

let private observe (clock: TimeProvider) (meter: Meter) (families: unit -> MetricFamily list) =
    let now = snapshots clock families

    let measurements (name: string) () = seq {
        for family in now () do
            if family.Name = name then
                for sample in family.Samples do
                    match sample.Value with
                    | MetricValue.Number value ->
                        Measurement<float>(
                            value,
                            [
                                for name, value in sample.Labels ->
                                    KeyValuePair<string, obj | null>(name, box value)
                            ]
                        )
                    // Histograms have instruments of their own.
                    | MetricValue.Distribution _ -> ()
    }

    for family in families () do
        let read = Func<IEnumerable<Measurement<float>>>(measurements family.Name)

        match family.Kind with
        | MetricKind.Counter ->
            meter.CreateObservableCounter<float>(family.Name, read, family.Unit, family.Help)
            |> ignore
        | MetricKind.Gauge ->
            meter.CreateObservableGauge<float>(family.Name, read, family.Unit, family.Help)
            |> ignore
        | MetricKind.Histogram -> ()

/// Begins what the settings ask for; disposing it sends what has not been sent, for a limited time. `families` are the
/// figures that are not the meter's own. `report` is told what cannot be done.
let start
    (report: string -> unit)
    (settings: TelemetrySettings)
    (clock: TimeProvider)
    (version: string)
    (instance: string)
    (meter: Meter)
    (families: unit -> MetricFamily list)
    : IDisposable =
    for problem in settings.Problems do
        report problem

    let tracer =
        usable report "traces" settings.Traces
        |> Option.map (fun connect ->
            Sdk
                .CreateTracerProviderBuilder()
                .SetResourceBuilder(resource version instance)
                .AddSource("k8sreq")
                .AddOtlpExporter(connect)
                .Build())

    let metrics =
        usable report "metrics" settings.Metrics
        |> Option.map (fun connect ->
            observe clock meter families

            Sdk
                .CreateMeterProviderBuilder()
                .SetResourceBuilder(resource version instance)
                .AddMeter(meter.Name)
                .AddView(fun instrument ->
                    if instrument.Name.StartsWith "k8sreq." then
                        MetricStreamConfiguration(CardinalityLimit = mostSeries)
                    else
                        null)
                .AddOtlpExporter(connect)
                .Build())

    let atShutdown: (unit -> unit) list = [
        match tracer with
        | Some provider -> fun () -> provider.Shutdown longestFarewell |> ignore
        | None -> ()
        match metrics with
        | Some provider -> fun () -> provider.Shutdown longestFarewell |> ignore
        | None -> ()
    ]

    {
        new IDisposable with
            member _.Dispose() =
                // At once: one collector that does not answer is not waited for twice.
                atShutdown |> List.map Task.Run |> Array.ofList |> Task.WaitAll

                tracer |> Option.iter _.Dispose()
                metrics |> Option.iter _.Dispose()
    }
