namespace K8sReq.Core

open System
open System.Globalization
open System.Text

/// In which words metrics are told.
[<RequireQualifiedAccess>]
type ExpositionFormat =
    /// Prometheus' text format, version 0.0.4.
    | Prometheus
    /// OpenMetrics, version 1.0.0.
    | OpenMetrics

/// Metrics as text. Names follow the rules by which OpenTelemetry's become Prometheus' names.
module Exposition =
    /// The format that a client prefers by its `Accept` field.
    let formatFor (accept: string) : ExpositionFormat =
        if accept.Contains "application/openmetrics-text" then
            ExpositionFormat.OpenMetrics
        else
            ExpositionFormat.Prometheus

    let contentType (format: ExpositionFormat) =
        match format with
        | ExpositionFormat.Prometheus -> "text/plain; version=0.0.4; charset=utf-8"
        | ExpositionFormat.OpenMetrics -> "application/openmetrics-text; version=1.0.0; charset=utf-8"

    let private unitName (unit: string) =
        match unit with
        | "s" -> "seconds"
        | "By" -> "bytes"
        // "{copy}" says what is counted, and "1" that nothing is; neither is part of a name.
        | _ -> ""

    /// A name without what tells of a counter: `http.server.request.duration` in `s` is
    /// `http_server_request_duration_seconds`.
    let familyName (family: MetricFamily) : string =
        let name = family.Name.Replace('.', '_')
        let unit = unitName family.Unit

        if unit = "" || name.EndsWith("_" + unit) then
            name
        else
            $"{name}_{unit}"

    let private number (value: float) =
        if Double.IsPositiveInfinity value then "+Inf"
        elif Double.IsNegativeInfinity value then "-Inf"
        elif Double.IsNaN value then "NaN"
        else value.ToString("R", CultureInfo.InvariantCulture)

    // OpenMetrics writes a bound with a point in it always.
    let private bound format (value: float) =
        let text = number value

        if
            format = ExpositionFormat.OpenMetrics
            && Double.IsFinite value
            && not (text.Contains '.' || text.Contains 'E')
        then
            text + ".0"
        else
            text

    let private appendEscaped (out: StringBuilder) (text: string) (isLabel: bool) =
        if text.AsSpan().IndexOfAny("\\\n\"") < 0 then
            out.Append text |> ignore
        else
            for c in text do
                match c with
                | '\\' -> out.Append "\\\\"
                | '\n' -> out.Append "\\n"
                | '"' when isLabel -> out.Append "\\\""
                | c -> out.Append c
                |> ignore

    let private appendLabels (out: StringBuilder) (labels: (string * string) list) =
        if not labels.IsEmpty then
            out.Append '{' |> ignore
            let mutable isFirst = true

            for name, value in labels do
                if not isFirst then
                    out.Append ',' |> ignore

                isFirst <- false
                out.Append(name.Replace('.', '_')).Append("=\"") |> ignore
                appendEscaped out value true
                out.Append '"' |> ignore

            out.Append '}' |> ignore

    let private appendLine (out: StringBuilder) (name: string) (suffix: string) labels (value: string) =
        out.Append(name).Append suffix |> ignore
        appendLabels out labels
        out.Append(' ').Append(value).Append '\n' |> ignore

    let private appendSample out format (family: MetricFamily) name (sample: MetricSample) =
        match sample.Value with
        | MetricValue.Number value ->
            let suffix = if family.Kind = MetricKind.Counter then "_total" else ""

            appendLine out name suffix sample.Labels (number value)
        | MetricValue.Distribution values ->
            let mutable count = 0L

            for index in 0 .. values.Counts.Length - 1 do
                count <- count + values.Counts[index]

                let upTo =
                    if index < values.Bounds.Length then
                        values.Bounds[index]
                    else
                        Double.PositiveInfinity

                appendLine
                    out
                    name
                    "_bucket"
                    (sample.Labels @ [ "le", bound format upTo ])
                    (string<int64> count)

            appendLine out name "_sum" sample.Labels (number values.Sum)
            appendLine out name "_count" sample.Labels (string<int64> count)

    let private kindName (kind: MetricKind) =
        match kind with
        | MetricKind.Counter -> "counter"
        | MetricKind.Gauge -> "gauge"
        | MetricKind.Histogram -> "histogram"

    /// Appends what introduces a family. Its samples come next, one by one.
    let appendHead (format: ExpositionFormat) (out: StringBuilder) (family: MetricFamily) : unit =
        let name = familyName family

        // Prometheus' format introduces a counter by the name of its samples.
        let introduced =
            if family.Kind = MetricKind.Counter && format = ExpositionFormat.Prometheus then
                name + "_total"
            else
                name

        out.Append("# HELP ").Append(introduced).Append ' ' |> ignore
        appendEscaped out family.Help (format = ExpositionFormat.OpenMetrics)
        out.Append('\n').Append("# TYPE ").Append(introduced).Append ' ' |> ignore
        out.Append(kindName family.Kind).Append '\n' |> ignore
        let unit = unitName family.Unit

        if format = ExpositionFormat.OpenMetrics && unit <> "" then
            out.Append("# UNIT ").Append(name).Append(' ').Append(unit).Append '\n'
            |> ignore

    let appendSampleOf (format: ExpositionFormat) (out: StringBuilder) (family: MetricFamily) sample : unit =
        appendSample out format family (familyName family) sample

    /// What ends the text.
    let ending (format: ExpositionFormat) : string =
        match format with
        | ExpositionFormat.Prometheus -> ""
        | ExpositionFormat.OpenMetrics -> "# EOF\n"

    /// All of it at once.
    let render (format: ExpositionFormat) (families: MetricFamily seq) : string =
        let out = StringBuilder()

        for family in families do
            appendHead format out family

            for sample in family.Samples do
                appendSampleOf format out family sample

        out.Append(ending format).ToString()
