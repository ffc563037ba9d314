/// Sends traces and metrics to a collector, by OpenTelemetry's protocol (OTLP) and as its standard variables say. Whatever
/// the collector does, nobody waits for it: what it does not take is dropped.
module K8sReq.Host.Telemetry.OtlpExport

open System
open System.Collections.Generic
open System.Diagnostics.Metrics
open System.Net.Http
open OpenTelemetry
open OpenTelemetry.Exporter
open OpenTelemetry.Metrics
open OpenTelemetry.Resources
open OpenTelemetry.Trace
open K8sReq.Core
open K8sReq.Host.Http

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

let private connect (settings: TelemetrySettings) (options: OtlpExporterOptions) =
    // Else the library's own handler, with the certificates that it was given.
    if not settings.HasCertificates then
        options.HttpClientFactory <-
            fun () ->
                let handler = new SocketsHttpHandler(UseProxy = false)
                InlineSockets.elsewhere handler

                new HttpClient(
                    handler,
                    true,
                    Timeout = TimeSpan.FromMilliseconds(float options.TimeoutMilliseconds)
                )

// The figures of one moment, for the instruments that are read one after the other.
let private snapshots
    (clock: TimeProvider)
    (families: unit -> MetricFamily list)
    : unit -> MetricFamily list =
    let mutable taken: struct (int64 * MetricFamily list) voption = ValueNone
    let gate = Threading.Lock()

    fun () ->
        lock gate (fun () ->
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
/// figures that are not the meter's own.
let start
    (settings: TelemetrySettings)
    (clock: TimeProvider)
    (version: string)
    (instance: string)
    (meter: Meter)
    (families: unit -> MetricFamily list)
    : IDisposable =
    let tracer =
        if settings.ExportsTraces then
            Sdk
                .CreateTracerProviderBuilder()
                .SetResourceBuilder(resource version instance)
                .AddSource("k8sreq")
                .AddOtlpExporter(Action<OtlpExporterOptions>(connect settings))
                .Build()
            |> Some
        else
            None

    let metrics =
        if settings.ExportsMetrics then
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
                .AddOtlpExporter(Action<OtlpExporterOptions>(connect settings))
                .Build()
            |> Some
        else
            None

    {
        new IDisposable with
            member _.Dispose() =
                tracer
                |> Option.iter (fun provider -> provider.Shutdown longestFarewell |> ignore)

                metrics
                |> Option.iter (fun provider -> provider.Shutdown longestFarewell |> ignore)

                tracer |> Option.iter _.Dispose()
                metrics |> Option.iter _.Dispose()
    }
