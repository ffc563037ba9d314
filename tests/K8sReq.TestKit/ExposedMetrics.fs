/// The metrics of a program with a journal that has had a request, for the tests of documents, alerts and dashboards.
module K8sReq.TestKit.ExposedMetrics

open System
open K8sReq.Core
open K8sReq.Host.Admin
open K8sReq.Proxy

/// Each family has a series at least: what has none shows no labels.
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
            Stalls = fun () -> LoopStalls.none
            IsReady = fun () -> true
        }

    // Read now: the journal is gone afterwards.
    [
        for family in families ->
            {
                family with
                    Samples = List.ofSeq family.Samples
            }
    ]

/// As Prometheus knows it.
let name (family: MetricFamily) : string =
    match family.Kind with
    | MetricKind.Counter -> Exposition.familyName family + "_total"
    | MetricKind.Gauge
    | MetricKind.Histogram -> Exposition.familyName family

/// In the documents' words.
let kindName (family: MetricFamily) : string =
    match family.Kind with
    | MetricKind.Counter -> "counter"
    | MetricKind.Gauge -> "gauge"
    | MetricKind.Histogram -> "histogram"

/// In the documents' words; empty for what is counted.
let unitName (family: MetricFamily) : string =
    match family.Unit with
    | "s" -> "seconds"
    | "By" -> "bytes"
    | _ -> ""
