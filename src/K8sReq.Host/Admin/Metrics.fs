/// What is measured, as it is now, and the page that tells it.
module K8sReq.Host.Admin.Metrics

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// Where the figures come from.
[<NoEquality; NoComparison>]
type MetricSources = {
    Version: string
    Http: HttpMetrics
    Clones: CloneDirectory
    Source: SourceMetrics
    Budget: BufferBudget
    /// None if there is none.
    Journal: JournalFigures option
    Routes: unit -> RoutingCounts
    UnknownHosts: unit -> UnknownHosts
    Stalls: unit -> LoopStalls
    /// What `/readyz` says.
    IsReady: unit -> bool
}

let private number = MetricSample.number
let private one (value: float) = [ number [] value ]

let private cloneLabels (clone: ObjectKey) = [ "namespace", clone.Namespace; "name", clone.Name ]

// All of it is of one moment: accepted + recovered + replayed = delivered + failed + dropped + expired + taken over + pending
// in every scrape.
let private copies (clones: CloneDirectory) : MetricFamily list =
    let entries = [|
        for entry in clones.All ->
            let struct (load, oldest) = entry.Load

            struct (cloneLabels entry.Statistics.Clone,
                    entry.Statistics,
                    entry.Statistics.Totals,
                    load,
                    oldest)
    |]

    let each (value: CopyTotals -> float) = [
        for struct (labels, _, totals, _, _) in entries -> number labels (value totals)
    ]

    let ofLoad (value: LaneLoad -> float) = [
        for struct (labels, _, _, load, _) in entries -> number labels (value load)
    ]

    [
        MetricFamily.counter
            "k8sreq.copies.accepted"
            "{copy}"
            "Copies accepted for a RequestClone."
            (each (fun totals -> float totals.Accepted))
        MetricFamily.counter
            "k8sreq.copies.recovered"
            "{copy}"
            "Copies found in the journal at the start, or taken over from another replica."
            (each (fun totals -> float totals.Recovered))
        MetricFamily.counter
            "k8sreq.copies.replayed"
            "{copy}"
            "Dead letters that were sent again."
            (each (fun totals -> float totals.Replayed))
        MetricFamily.counter
            "k8sreq.copies"
            "{copy}"
            "Finished copies, by outcome: delivered (answered 2xx), failed, expired (expireAfter), dropped (queue full, route removed or shutdown), or taken_over (by another replica, from a journal that several use)."
            [
                for struct (labels, _, totals, _, _) in entries do
                    number (labels @ [ "outcome", "delivered" ]) (float totals.Delivered)
                    number (labels @ [ "outcome", "failed" ]) (float totals.Failed)
                    number (labels @ [ "outcome", "dropped" ]) (float totals.Dropped)
                    number (labels @ [ "outcome", "expired" ]) (float totals.Expired)
                    number (labels @ [ "outcome", "taken_over" ]) (float totals.TakenOver)
            ]
        MetricFamily.gauge
            "k8sreq.copies.pending"
            "{copy}"
            "Accepted copies that are not finished."
            (each (fun totals -> float totals.Pending))
        MetricFamily.counter
            "k8sreq.attempts"
            "{attempt}"
            "Finished attempts to send a copy, by the target's status code (empty: no response) and error type."
            [
                for struct (labels, statistics, _, _, _) in entries do
                    for struct (struct (status, errorType), count) in statistics.Attempts do
                        let code = if status = 0 then "" else string<int> status
                        number (labels @ [ "code", code; "error_type", errorType ]) (float count)
            ]
        MetricFamily.counter
            "k8sreq.retries"
            "{attempt}"
            "Attempts after a copy's first."
            (each (fun totals -> float totals.Retries))
        MetricFamily.gauge
            "k8sreq.copies.in_flight"
            "{copy}"
            "Copies that are being sent."
            (ofLoad (fun load -> float load.Sending))
        MetricFamily.gauge
            "k8sreq.queue.items"
            "{copy}"
            "Copies waiting in the target's queue, or for their next attempt."
            (ofLoad (fun load -> float (load.Queued + load.Parked)))
        MetricFamily.gauge
            "k8sreq.queue.bytes"
            "By"
            "Bytes waiting in the target's queue (limit: QUEUE_BYTES)."
            (ofLoad (fun load -> float load.WaitingBytes))
        MetricFamily.gauge "k8sreq.queue.oldest" "s" "Age of the oldest copy in the target's queue." [
            for struct (labels, _, _, _, oldest) in entries -> number labels oldest.TotalSeconds
        ]
    ]

let private routing (sources: MetricSources) : MetricFamily list =
    let routes = sources.Routes()

    let byWord label (counts: seq<struct (string * Counter)>) = [
        for struct (word, count) in counts -> number [ label, word ] (float count.Value)
    ]

    [
        MetricFamily.gauge "k8sreq.hosts" "{host}" "Hosts that have a target." (one (float routes.Hosts))
        MetricFamily.gauge "k8sreq.routes" "{route}" "RequestClones by whether they are routed." [
            number [ "state", "routed" ] (float routes.Targets)
            number [ "state", "unrouted" ] (float routes.Unrouted)
        ]
        MetricFamily.gauge
            "k8sreq.last_sync.timestamp"
            "s"
            "Unix time of the last sync with the route source; 0 before the first."
            (one (
                sources.Source.LastSync
                |> Option.map ProcessMetrics.unixSeconds
                |> Option.defaultValue 0.0
            ))
        MetricFamily.gauge
            "k8sreq.leader"
            ""
            "1 if this replica writes statuses and events."
            (one (if sources.Source.IsLeading then 1.0 else 0.0))
        MetricFamily.counter
            "k8sreq.watch_restarts"
            "{watch}"
            "Lists and watches that were restarted, by reason."
            (byWord "reason" sources.Source.Restarts)
        MetricFamily.counter
            "k8sreq.status_writes"
            "{write}"
            "RequestClone status updates, by result."
            (byWord "result" sources.Source.Writes)
    ]

/// Everything that is measured. Reading the samples reads them as they are then.
let families (sources: MetricSources) : MetricFamily list = [
    MetricFamily.gauge "k8sreq.build_info" "" "1, with the version." [
        number [ "version", sources.Version ] 1.0
    ]
    MetricFamily.gauge
        "k8sreq.ready"
        ""
        "1 if this replica is ready: its routes are known and it is not shutting down."
        (one (if sources.IsReady() then 1.0 else 0.0))
    MetricFamily.counter
        "k8sreq.requests"
        "{request}"
        "Requests answered, by status code and, where they were refused, by reason."
        [
            for request in sources.Http.Requests ->
                number
                    [
                        "code", string<int> request.Status
                        if request.Reason <> "" then
                            "reason", request.Reason
                    ]
                    (float request.Count)
        ]
    MetricFamily.gauge
        "k8sreq.unknown_hosts"
        "{host}"
        "Hosts without a target that requests came for lately, at most 100."
        (one (float (sources.UnknownHosts().Hosts.Length)))
    yield! copies sources.Clones
    MetricFamily.gauge "k8sreq.buffer.bytes" "By" "Memory used by requests." (one (float sources.Budget.Used))
    MetricFamily.gauge
        "k8sreq.buffer.limit"
        "By"
        "Memory that all requests together may use (BUFFER_BYTES)."
        (one (float sources.Budget.Total))
    MetricFamily.counter
        "k8sreq.event_loop.stalls"
        "{turn}"
        "Turns of an event loop that took longer than 10 ms: everything else on that loop waited."
        (one (float (sources.Stalls().Count)))
    MetricFamily.gauge
        "k8sreq.event_loop.longest_turn"
        "s"
        "Longest turn of an event loop so far, of those longer than 10 ms."
        (one (sources.Stalls().Longest.TotalSeconds))
    match sources.Journal with
    | Some journal -> yield! JournalMetrics.families sources.Clones journal
    | None -> ()
    yield! routing sources
    yield! sources.Http.Families
    yield! ProcessMetrics.families ()
]

// A text is sent in pieces: that of ten thousand RequestClones takes megabytes.
let private pieceLength = 32 * 1024

/// `/metrics`, as Prometheus' text or, for those who ask for it, as OpenMetrics'.
let handler (families: unit -> MetricFamily list) : HttpHandler =
    let write: HttpHandler =
        fun _ ctx -> task {
            let format = Exposition.formatFor (string ctx.Request.Headers.Accept)
            ctx.Response.ContentType <- Exposition.contentType format
            let piece = StringBuilder(pieceLength + 1024)

            let flush () = task {
                let! _ = ctx.Response.BodyWriter.WriteAsync(Encoding.UTF8.GetBytes(string piece))
                piece.Clear() |> ignore
            }

            for family in families () do
                Exposition.appendHead format piece family

                for sample in family.Samples do
                    Exposition.appendSampleOf format piece family sample

                    if piece.Length > pieceLength then
                        do! flush ()

            piece.Append(Exposition.ending format) |> ignore
            do! flush ()
            return Some ctx
        }

    GET_HEAD >=> route "/metrics" >=> write
