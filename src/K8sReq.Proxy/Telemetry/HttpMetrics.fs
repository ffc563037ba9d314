namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Diagnostics.Metrics
open K8sReq.Core

/// How many requests were answered with a status, for the same reason.
type RequestCount = {
    Status: int
    /// `Refusal.word`; empty for requests that were not refused.
    Reason: string
    Count: int64
}

/// What an exchange is measured under.
[<Struct>]
type internal ExchangeLabel = {
    /// As `HttpConventions.methodName` has it.
    Method: string
    /// 0 for none.
    Status: int
    /// Of a request its protocol version, of a copy its error type.
    Word: string
}

/// Under which requests are counted.
[<Struct>]
type internal RequestLabel = {
    Status: int
    /// `RequestCount.Reason`
    Reason: string
}

/// What is measured of requests that come in and of copies that go out, by OpenTelemetry's semantic conventions for HTTP.
/// What they would say of hosts, addresses and paths is left out: it has no bounds. From any thread.
[<Sealed>]
type HttpMetrics(meter: Meter) =
    static let acceptedStatus = 202

    static let statusOf (status: int) =
        if status >= 100 && status <= 599 then status else 0

    static let advice =
        InstrumentAdvice<float>(HistogramBucketBoundaries = DurationHistogram.OfHttp().Bounds)

    let served = ByLabel<ExchangeLabel, DurationHistogram>(DurationHistogram.OfHttp)
    let sent = ByLabel<ExchangeLabel, DurationHistogram>(DurationHistogram.OfHttp)

    let delivered = DurationHistogram.OfHttp()

    // By status, and the word of the refusal. Nearly all are accepted: those need no look-up.
    let accepted = Counter()
    let requests = ByLabel<RequestLabel, Counter>(Counter)

    // From zero on: what a series has when it first appears is in no rate.
    do
        for refusal in [ Refusal.NoTarget; Refusal.NoMatch; Refusal.Busy; Refusal.NotKept ] do
            requests
                .Of(
                    {
                        Status = Refusal.status refusal
                        Reason = Refusal.word refusal
                    }
                )
                .Add
                0L

    // For those who collect by OpenTelemetry; nobody else makes them cost anything.
    let servedOut =
        meter.CreateHistogram<float>(
            "http.server.request.duration",
            "s",
            "From the request head to the response.",
            null,
            advice
        )

    let sentOut =
        meter.CreateHistogram<float>(
            "http.client.request.duration",
            "s",
            "From the start of an attempt to the head of the response.",
            null,
            advice
        )

    let deliveredOut =
        meter.CreateHistogram<float>(
            "k8sreq.delivery.duration",
            "s",
            "From the acceptance of a copy to its delivery.",
            null,
            advice
        )

    static let tags (labels: (string * string) list) =
        ReadOnlySpan(
            [|
                for name, value in labels -> KeyValuePair<string, obj | null>(name, box value)
            |]
        )

    static let servedLabels (label: ExchangeLabel) = [
        "http.request.method", label.Method
        "http.response.status_code", string<int> label.Status
        "network.protocol.version", label.Word
        "url.scheme", "http"
    ]

    static let sentLabels (label: ExchangeLabel) = [
        "http.request.method", label.Method
        if label.Status > 0 then
            "http.response.status_code", string<int> label.Status
        if label.Word <> "" then
            // The conventions: the status where there is one.
            "error.type",
            (if label.Status > 0 then
                 string<int> label.Status
             else
                 label.Word)
        "network.protocol.version", "1.1"
        "url.scheme", "http"
    ]

    /// A request has been answered, or refused for this reason (`Refusal.word`; empty if it was not).
    member _.Served
        (method: string, protocol: string, status: int, reason: string, duration: TimeSpan)
        : unit =
        if status = acceptedStatus && reason = "" then
            accepted.Add 1L
        else
            requests
                .Of(
                    {
                        Status = statusOf status
                        Reason = reason
                    }
                )
                .Add
                1L

        let label: ExchangeLabel = {
            Method = HttpConventions.methodName method
            Status = statusOf status
            Word = HttpConventions.versionOf protocol
        }

        served.Of(label).Record duration

        if servedOut.Enabled then
            servedOut.Record(duration.TotalSeconds, tags (servedLabels label))

    /// An attempt to send a copy has ended.
    member _.Sent(method: string, outcome: TargetOutcome, duration: TimeSpan) : unit =
        let status = TargetOutcome.status outcome |> ValueOption.defaultValue 0

        let label: ExchangeLabel = {
            Method = HttpConventions.methodName method
            Status = statusOf status
            Word = TargetOutcome.errorType outcome
        }

        sent.Of(label).Record duration

        if sentOut.Enabled then
            sentOut.Record(duration.TotalSeconds, tags (sentLabels label))

    /// A copy has been delivered.
    member _.Delivered(duration: TimeSpan) : unit =
        delivered.Record duration

        if deliveredOut.Enabled then
            deliveredOut.Record duration.TotalSeconds

    /// How many requests were answered with which status, and for which reason where they were refused.
    member _.Requests: RequestCount list =
        [
            for struct (label, count) in requests.All ->
                {
                    Status = label.Status
                    Reason = label.Reason
                    Count = count.Value
                }
        ]
        |> List.append [
            {
                Status = acceptedStatus
                Reason = ""
                Count = accepted.Value
            }
        ]
        |> List.sort

    /// The durations; each instrument of the meter has the same name.
    member _.Families: MetricFamily list = [
        MetricFamily.histogram "http.server.request.duration" "s" "From the request head to the response." [
            for struct (label, cell) in served.All ->
                MetricSample.distribution (servedLabels label) cell.Value
        ]
        MetricFamily.histogram
            "http.client.request.duration"
            "s"
            "From the start of an attempt to the head of the response."
            [
                for struct (label, cell) in sent.All ->
                    MetricSample.distribution (sentLabels label) cell.Value
            ]
        MetricFamily.histogram "k8sreq.delivery.duration" "s" "From the acceptance of a copy to its delivery." [
            MetricSample.distribution [] delivered.Value
        ]
    ]
