namespace K8sReq.Proxy

open System
open System.Diagnostics
open K8sReq.Core

/// The CLIENT span of an attempt, and where in the trace it is.
[<Sealed; AllowNullLiteral(false)>]
type AttemptSpan(span: Activity | null, fields: HeaderLine[]) =
    /// What the copy says of it.
    member _.Fields = fields

    member _.End(outcome: TargetOutcome) : unit =
        match span with
        | null -> ()
        | span ->
            match TargetOutcome.status outcome with
            | ValueSome status ->
                span.SetTag("http.response.status_code", status) |> ignore

                if not (TargetOutcome.isDelivered outcome) then
                    // The status says all there is to say.
                    span.SetTag("error.type", string<int> status).SetStatus ActivityStatusCode.Error
                    |> ignore
            | ValueNone ->
                span
                    .SetTag("error.type", TargetOutcome.errorType outcome)
                    .SetStatus(ActivityStatusCode.Error, TargetOutcome.describe outcome)
                |> ignore

            span.Dispose()

/// A request's place in a trace: its SERVER span, which its attempts are children of also when it has long ended.
/// `forms` are those that copies say it in, `ownForms` those that it may be said in here.
[<Sealed; AllowNullLiteral(false)>]
type RequestTrace
    (source: ActivitySource, server: Activity, ownForms: TraceForm list, forms: TraceForm list, isDebug: bool)
    =
    let isRecorded = server.IsAllDataRequested
    let mutable path = ""

    let fieldsOf (span: Activity) : HeaderLine[] =
        let context = {
            TraceId = span.TraceId.ToHexString()
            SpanId = span.SpanId.ToHexString()
            Sampled = Some span.Recorded
            IsDebug = isDebug && span.Recorded
            State = string span.TraceStateString
        }

        match forms with
        | [] -> [||]
        | [ form ] -> Array.ofList (TraceContext.render form context)
        | forms ->
            forms
            |> List.collect (fun form -> TraceContext.render form context)
            |> Array.ofList

    let isOwn (name: string) =
        ownForms |> List.exists (fun form -> TraceContext.isFieldOf form name)

    // By the conventions, a method that they do not name has an attribute of its own.
    let setMethod (span: Activity) (method: string) =
        let known = HttpConventions.methodName method
        span.SetTag("http.request.method", known) |> ignore

        if known <> method then
            span.SetTag("http.request.method_original", method) |> ignore

    member _.TraceId: string = server.TraceId.ToHexString()

    /// Whether somebody is told of it. If not, nothing is sent anywhere and no attempt has a span; copies still say what
    /// they are part of, all of them the same.
    member _.IsRecorded = isRecorded

    /// What is known of the request at its start.
    member _.Describe(method: string, target: string, host: string, protocol: string) : unit =
        if isRecorded then
            path <- HttpConventions.pathOf target
            let struct (address, port) = HttpConventions.serverOf host
            setMethod server method

            server
                .SetTag("url.scheme", "http")
                .SetTag("url.path", path)
                .SetTag("server.address", address)
                .SetTag("network.protocol.version", HttpConventions.versionOf protocol)
            |> ignore

            match port with
            | ValueSome port -> server.SetTag("server.port", port) |> ignore
            | ValueNone -> ()

    /// The lines that copies carry, from those that came in. Without what said where the request was sent, and, if that is
    /// the same for all of them, with where they are.
    member _.Carried(lines: HeaderLine[]) : HeaderLine[] =
        let others =
            if lines |> Array.exists (fun (struct (name, _)) -> isOwn name) then
                lines |> Array.filter (fun (struct (name, _)) -> not (isOwn name))
            else
                lines

        if isRecorded then
            others
        else
            Array.append others (fieldsOf server)

    /// The request has been answered with this status.
    member _.End(status: int) : unit =
        // A span that nobody is told of has no end either.
        if isRecorded then
            server.SetTag("http.response.status_code", status) |> ignore

            if status >= 500 then
                server.SetTag("error.type", string<int> status).SetStatus ActivityStatusCode.Error
                |> ignore

            server.Dispose()

    /// An attempt begins, the one of this number, of a request that is recorded.
    member _.StartAttempt(method: string, target: Target, number: int) : AttemptSpan =
        let span =
            source.StartActivity(HttpConventions.spanName method, ActivityKind.Client, server.Context)
        // Spans are told of their parents; whatever else runs on this thread is no child of theirs.
        Activity.Current <- null

        match span with
        | null -> AttemptSpan(null, fieldsOf server)
        | span ->
            if span.IsAllDataRequested then
                setMethod span method

                span
                    .SetTag("server.address", string target.Address)
                    .SetTag("server.port", target.Port)
                    // The conventions want it whole; its query may be secret.
                    .SetTag("url.full", String.Concat("http://", target.Endpoint, path))
                    .SetTag("network.protocol.version", "1.1")
                    .SetTag("k8sreq.requestclone", string target.Clone)
                |> ignore

                if number > 1 then
                    span.SetTag("http.request.resend_count", number - 1) |> ignore

            AttemptSpan(span, fieldsOf span)

/// Spans by OpenTelemetry's semantic conventions for HTTP. While nobody listens, nothing is done. Never a query string, a
/// header or a body.
[<Sealed>]
type Tracing(version: string, forms: TraceForm list) =
    let source = new ActivitySource("k8sreq", version)
    let firstForm = List.truncate 1 forms

    let parentOf (context: TraceContext voption) : ActivityContext =
        match context with
        | ValueNone -> Unchecked.defaultof<ActivityContext>
        | ValueSome context ->
            ActivityContext(
                ActivityTraceId.CreateFromString(context.TraceId.AsSpan()),
                ActivitySpanId.CreateFromString(context.SpanId.AsSpan()),
                // B3 can leave it open; as in OpenTelemetry's own reading of B3, that is no yes.
                (if context.Sampled = Some true then
                     ActivityTraceFlags.Recorded
                 else
                     ActivityTraceFlags.None),
                (if context.State = "" then null else context.State),
                true
            )

    /// Nothing that anybody would see of a trace.
    static member Off = new Tracing("", [])

    /// Whether anybody listens.
    member _.IsOn = source.HasListeners()

    /// A request of this method has come in; `find` reads its head. None if nobody listens.
    member _.Start(method: string, find: FieldLookup) : RequestTrace voption =
        if not (source.HasListeners()) then
            ValueNone
        else
            let struct (context, found) = TraceContext.extract forms find

            let span =
                source.StartActivity(HttpConventions.spanName method, ActivityKind.Server, parentOf context)

            Activity.Current <- null

            match span with
            | null -> ValueNone
            | span ->
                let isDebug =
                    match context with
                    | ValueSome context -> context.IsDebug
                    | ValueNone -> false

                // In the forms that came in; in the first that is known if none did.
                let answeredIn = if found.IsEmpty then firstForm else found
                ValueSome(RequestTrace(source, span, forms, answeredIn, isDebug))

    interface IDisposable with
        member _.Dispose() = source.Dispose()
