namespace K8sReq.Core

[<RequireQualifiedAccess>]
type MetricKind =
    /// Only grows.
    | Counter
    | Gauge
    | Histogram

/// How many values fell where: `Counts` has one more than `Bounds`, for what is above the last one; each bound belongs to
/// the values below it. Not cumulative.
type Distribution = {
    Bounds: float[]
    Counts: int64[]
    Sum: float
}

[<RequireQualifiedAccess>]
type MetricValue =
    | Number of float
    | Distribution of Distribution

/// One series at one moment.
type MetricSample = {
    /// By OpenTelemetry's names, such as `http.request.method`.
    Labels: (string * string) list
    Value: MetricValue
}

/// What is measured, and what has been measured.
type MetricFamily = {
    /// By OpenTelemetry's rules: parts between dots.
    Name: string
    Kind: MetricKind
    /// In UCUM, such as `s`, `By` and `{copy}`.
    Unit: string
    Help: string
    Samples: MetricSample seq
}

module MetricSample =
    let number (labels: (string * string) list) (value: float) : MetricSample = {
        Labels = labels
        Value = MetricValue.Number value
    }

    let distribution (labels: (string * string) list) (value: Distribution) : MetricSample = {
        Labels = labels
        Value = MetricValue.Distribution value
    }

module MetricFamily =
    let private create kind name unit help samples = {
        Name = name
        Kind = kind
        Unit = unit
        Help = help
        Samples = samples
    }

    let counter name unit help samples =
        create MetricKind.Counter name unit help samples

    let gauge name unit help samples =
        create MetricKind.Gauge name unit help samples

    let histogram name unit help samples =
        create MetricKind.Histogram name unit help samples
