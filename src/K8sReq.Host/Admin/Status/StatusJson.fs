/// What the status page tells, for programs. Field names are part of the interface; times are RFC 3339 in UTC, durations
/// seconds, sizes bytes.
module K8sReq.Host.Admin.Status.StatusJson

open System
open System.Text.Json
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin.JsonOutput

let private copies (json: Utf8JsonWriter) (totals: CopyTotals) =
    field json "copies" (fun () ->
        json.WriteNumber("accepted", totals.Accepted)
        json.WriteNumber("recovered", totals.Recovered)
        json.WriteNumber("replayed", totals.Replayed)
        json.WriteNumber("delivered", totals.Delivered)
        json.WriteNumber("failed", totals.Failed)
        json.WriteNumber("dropped", totals.Dropped)
        json.WriteNumber("expired", totals.Expired)
        json.WriteNumber("takenOver", totals.TakenOver)
        json.WriteNumber("pending", totals.Pending)
        json.WriteNumber("retries", totals.Retries))

let private queue (json: Utf8JsonWriter) (load: LaneLoad) (oldest: TimeSpan) =
    json.WriteNumber("inFlight", load.Sending)

    field json "queue" (fun () ->
        json.WriteNumber("items", load.Queued + load.Parked)
        json.WriteNumber("bytes", load.WaitingBytes)
        seconds json "oldestSeconds" (Some oldest))

// Null without a journal.
let private stored (json: Utf8JsonWriter) (stored: StoredCopies voption) =
    match stored with
    | ValueSome stored ->
        field json "backlog" (fun () ->
            json.WriteNumber("items", stored.Backlog)
            seconds json "oldestSeconds" (Some stored.OldestAge))

        json.WriteNumber("deadLetters", stored.DeadLetters)
    | ValueNone ->
        json.WriteNull "backlog"
        json.WriteNull "deadLetters"

let private clone (json: Utf8JsonWriter) (key: ObjectKey) =
    json.WriteString("namespace", key.Namespace)
    json.WriteString("name", key.Name)

let private window (json: Utf8JsonWriter) (name: string) (window: CopyWindow) =
    field json name (fun () ->
        json.WriteNumber("delivered", window.Delivered)
        json.WriteNumber("failed", window.Failed)
        json.WriteNumber("dropped", window.Dropped))

// As conditions have their reasons.
let private stateCode (state: RouteState) : string =
    (RouteState.name state).Replace("Not routed", "NotRouted")

// How many RequestClones are in each state, and what is the matter.
let private health (json: Utf8JsonWriter) (summary: StatusSummary) (overview: RouteOverview) =
    field json "health" (fun () ->
        json.WriteString("summary", (Health.verdict summary overview).Sentence)

        field json "states" (fun () ->
            for state in RouteState.all do
                json.WriteNumber(stateCode state, overview.Count state))

        window json "lastTenMinutes" overview.LastTenMinutes)

/// `/api/status`
let ofSummary (summary: StatusSummary) (overview: RouteOverview) : byte[] =
    render (fun json ->
        object json (fun () ->
            json.WriteString("version", summary.Version)
            json.WriteString("instance", summary.Instance)

            match summary.Replicas with
            | Some count -> json.WriteNumber("replicas", count)
            | None -> json.WriteNull "replicas"

            time json "time" (Some summary.At)
            time json "startedAt" (Some summary.StartedAt)
            json.WriteBoolean("ready", summary.IsReady)
            time json "lastSync" summary.LastSync

            field json "leader" (fun () ->
                json.WriteBoolean("isThisReplica", summary.IsLeading)

                if summary.Leader = "" then
                    json.WriteNull "name"
                else
                    json.WriteString("name", summary.Leader))

            field json "routes" (fun () ->
                json.WriteNumber("hosts", summary.Counts.Hosts)
                json.WriteNumber("routed", summary.Counts.Targets)
                json.WriteNumber("unrouted", summary.Counts.Unrouted))

            field json "requests" (fun () ->
                for status, count in summary.Requests do
                    json.WriteNumber(string<int> status, count))

            field json "refusals" (fun () ->
                for reason, count in summary.Refusals do
                    json.WriteNumber(reason, count))

            json.WriteNumber("unknownHosts", summary.UnknownHosts.Hosts.Length)

            health json summary overview
            copies json summary.Totals
            queue json summary.Load summary.OldestWait
            stored json summary.Stored

            field json "memory" (fun () ->
                json.WriteNumber("residentBytes", summary.ResidentMemory)
                json.WriteNumber("bufferBytes", summary.BufferUsed)
                json.WriteNumber("bufferLimitBytes", summary.BufferLimit))))

let private routeFields (json: Utf8JsonWriter) (status: RouteStatus) =
    let readiness = Conditions.wanted status.Clone.Resolved

    match status.Clone.Clone.Spec with
    | Ok spec -> json.WriteString("host", spec.Host.Value)
    | Error _ -> json.WriteNull "host"

    clone json status.Clone.Clone.Key

    match status.Clone.Resolved with
    | Ok target ->
        json.WriteString("service", target.Service.Name)
        json.WriteString("address", target.Endpoint)
    | Error _ ->
        json.WriteNull "service"
        json.WriteNull "address"

    field json "ready" (fun () ->
        json.WriteBoolean("status", readiness.IsReady)
        json.WriteString("reason", readiness.Reason)
        json.WriteString("message", readiness.Message))

    json.WriteString("state", stateCode status.State)
    time json "stateSince" status.Since

    time
        json
        "failingSince"
        (match status.State with
         | RouteState.Failing
         | RouteState.Dropping -> status.Since
         | _ -> None)

    time json "lastSuccess" status.LastSuccess
    json.WriteNumber("ratePerSecond", Math.Round(float status.LastMinute.Finished / 60.0, 3))
    window json "lastMinute" status.LastMinute
    window json "lastTenMinutes" status.LastTenMinutes
    copies json status.Totals
    queue json status.Load status.OldestWait
    stored json status.Stored

    seconds json "p50Seconds" (status.Quantile 0.5)
    seconds json "p99Seconds" (status.Quantile 0.99)

    match status.History with
    | ValueNone -> json.WriteNull "history"
    | ValueSome history ->
        let points = history.Points status.Totals

        field json "history" (fun () ->
            seconds json "slotSeconds" (Some CopyHistory.SlotLength)
            array json "delivered" points (fun point -> json.WriteNumberValue point.Delivered)
            array json "lost" points (fun point -> json.WriteNumberValue point.Lost)
            array json "failed" points (fun point -> json.WriteNumberValue point.Failed)
            array json "dropped" points (fun point -> json.WriteNumberValue point.Dropped))

/// `/api/routes`
let ofPage (page: RoutePage) : byte[] =
    render (fun json ->
        object json (fun () ->
            json.WriteNumber("total", page.Total)
            json.WriteNumber("offset", page.Query.Offset)
            json.WriteNumber("limit", page.Query.Limit)

            array json "routes" page.Shown (fun status -> object json (fun () -> routeFields json status))))

let private traceId (json: Utf8JsonWriter) (id: string) =
    if id = "" then
        json.WriteNull "traceId"
    else
        json.WriteString("traceId", id)

let private outcome (json: Utf8JsonWriter) (failure: CopyFailure) =
    json.WriteString("errorType", TargetOutcome.errorType failure.Outcome)

    match TargetOutcome.status failure.Outcome with
    | ValueSome status -> json.WriteNumber("status", status)
    | ValueNone -> json.WriteNull "status"

    json.WriteString("outcome", TargetOutcome.describe failure.Outcome)
    json.WriteNumber("attempts", failure.Attempts)
    seconds json "durationSeconds" (Some failure.Duration)
    traceId json failure.TraceId

/// `/api/failures`
let ofFailures (failures: CopyFailure list) : byte[] =
    render (fun json ->
        object json (fun () ->
            array json "failures" failures (fun failure ->
                object json (fun () ->
                    time json "time" (Some failure.At)
                    clone json failure.Target.Clone
                    json.WriteString("host", failure.Target.Host.Value)
                    json.WriteString("address", failure.Target.Endpoint)
                    outcome json failure))))

let private recent (json: Utf8JsonWriter) (copy: RecentCopy) =
    object json (fun () ->
        time json "time" (Some copy.At)

        match copy with
        | RecentCopy.Lost failure ->
            json.WriteBoolean("delivered", false)
            json.WriteString("address", failure.Target.Endpoint)
            outcome json failure
        | RecentCopy.Delivered copy ->
            json.WriteBoolean("delivered", true)
            json.WriteString("address", copy.Endpoint)
            json.WriteString("errorType", "")
            json.WriteNumber("status", copy.Status)
            json.WriteString("outcome", $"answered {copy.Status}")
            json.WriteNumber("attempts", copy.Attempts)
            seconds json "durationSeconds" (Some copy.Duration)
            traceId json copy.TraceId)

/// `/api/routes/NAMESPACE/NAME`
let ofRoute (status: RouteStatus) (copies: RecentCopy list) : byte[] =
    render (fun json ->
        object json (fun () ->
            routeFields json status
            array json "recent" copies (recent json)))

/// `/api/unknown-hosts`
let ofUnknownHosts (hosts: UnknownHosts) : byte[] =
    render (fun json ->
        object json (fun () ->
            array json "hosts" hosts.Hosts (fun host ->
                object json (fun () ->
                    json.WriteString("host", host.Host)
                    json.WriteNumber("requests", host.Requests)
                    time json "firstSeen" (Some host.FirstSeen)
                    time json "lastSeen" (Some host.LastSeen)))

            json.WriteNumber("otherRequests", hosts.Others)))

let ofError (reason: string) : byte[] =
    render (fun json -> object json (fun () -> json.WriteString("error", reason)))
