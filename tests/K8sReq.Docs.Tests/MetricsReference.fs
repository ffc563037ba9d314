/// Everything that `/metrics` shows, as a table.
module K8sReq.Docs.Tests.MetricsReference

open System
open K8sReq.Core
open K8sReq.Host.Admin
open K8sReq.Proxy
open K8sReq.TestKit

let private kindName (kind: MetricKind) =
    match kind with
    | MetricKind.Counter -> "counter"
    | MetricKind.Gauge -> "gauge"
    | MetricKind.Histogram -> "histogram"

let private unitName (family: MetricFamily) =
    match family.Unit with
    | "s" -> "seconds"
    | "By" -> "bytes"
    | _ -> ""

/// The families of a program with a journal, with at least one series each: what has no series shows no labels.
let families () : MetricFamily list =
    use meter = new Diagnostics.Metrics.Meter "k8sreq"
    use journal = new TestJournal()
    let http = HttpMetrics meter
    let clones = CloneDirectory()
    let source = SourceMetrics TimeProvider.System

    let delivered, failed =
        TargetOutcome.Delivered 200, TargetOutcome.ConnectFailed "refused"

    http.Served("POST", "HTTP/1.1", 202, "", TimeSpan.Zero)
    http.Sent("POST", delivered, TimeSpan.Zero)
    http.Sent("POST", failed, TimeSpan.Zero)
    clones.Of(ObjectKey.create "shop" "ci").Statistics.Attempted delivered
    source.Restarted "closed"
    source.Wrote "written"

    let families =
        Metrics.families {
            Version = "1.0.0"
            Http = http
            Clones = clones
            Source = source
            Budget = BufferBudget 1L
            Journal =
                Some {
                    Store = journal.Store
                    Limit = 1L
                    Sinks = fun () -> { Sent = 0L; Refused = 0L; Failed = 0L }
                }
            Routes = fun () -> Routing.initial.Counts
            UnknownHosts = fun () -> UnknownHosts.empty
            IsReady = fun () -> true
        }

    [
        for family in families ->
            {
                family with
                    Samples = List.ofSeq family.Samples
            }
    ]

let private labels (family: MetricFamily) =
    family.Samples
    // Series come in no order.
    |> Seq.sortBy _.Labels
    |> Seq.collect (fun sample -> sample.Labels |> Seq.map fst)
    |> Seq.distinct
    |> Seq.map (fun name -> MarkdownTable.code (name.Replace('.', '_')))
    |> String.concat ", "

/// As Prometheus knows it.
let name (family: MetricFamily) : string =
    match family.Kind with
    | MetricKind.Counter -> Exposition.familyName family + "_total"
    | MetricKind.Gauge
    | MetricKind.Histogram -> Exposition.familyName family

let render () : string =
    MarkdownTable.render [ "metric"; "type"; "unit"; "labels"; "meaning"; "name over OTLP" ] [
        for family in families () ->
            [
                MarkdownTable.code (name family)
                kindName family.Kind
                unitName family
                labels family
                MarkdownTable.cell family.Help
                MarkdownTable.code family.Name
            ]
    ]
