namespace K8sReq.Host.Telemetry

open System
open System.Diagnostics
open K8sReq.Core

/// The CLIENT span of an attempt, and where in the trace it is.
[<Sealed; AllowNullLiteral(false)>]
type AttemptSpan(span: Activity | null, fields: HeaderLine list) =
    /// What the copy says of it.
    member _.Fields = fields

    member _.End(outcome: TargetOutcome) : unit =
        match span with
        | null -> ()
        | span ->
            match TargetOutcome.status outcome with
            | ValueSome status -> span.SetTag("http.response.status_code", status) |> ignore
            | ValueNone -> ()

            if not (TargetOutcome.isDelivered outcome) then
                let errorType =
                    match TargetOutcome.status outcome with
                    | ValueSome status -> string<int> status
                    | ValueNone -> TargetOutcome.errorType outcome

                span.SetTag("error.type", errorType) |> ignore

                span.SetStatus(ActivityStatusCode.Error, TargetOutcome.describe outcome)
                |> ignore

            span.Dispose()

/// A request's place in a trace: its SERVER span, which its attempts are children of also when it has long ended.
[<Sealed; AllowNullLiteral(false)>]
type RequestTrace(source: ActivitySource, server: Activity, forms: TraceForm list) =
    let contextOf (span: Activity) : TraceContext = {
        TraceId = span.TraceId.ToHexString()
        SpanId = span.SpanId.ToHexString()
        Sampled = Some span.Recorded
        State = string span.TraceStateString
    }

    member _.TraceId: string = server.TraceId.ToHexString()

    /// Whether copies say something of their own in place of what came in.
    member _.IsPropagated = not forms.IsEmpty

    /// The request has been answered with this status.
    member _.End(status: int) : unit =
        server.SetTag("http.response.status_code", status) |> ignore

        if status >= 500 then
            server.SetTag("error.type", string<int> status) |> ignore
            server.SetStatus ActivityStatusCode.Error |> ignore

        server.Dispose()

    /// An attempt begins, the one of this number.
    member _.StartAttempt(method: string, target: Target, number: int) : AttemptSpan =
        let span = source.StartActivity(method, ActivityKind.Client, server.Context)
        // Spans are told of their parents; whatever else runs on this thread is no child of theirs.
        Activity.Current <- null

        match span with
        | null -> ()
        | span when span.IsAllDataRequested ->
            span
                .SetTag("http.request.method", method)
                .SetTag("server.address", string target.Address)
                .SetTag("server.port", target.Port)
                .SetTag("network.protocol.version", "1.1")
                .SetTag("k8sreq.requestclone", string target.Clone)
            |> ignore

            if number > 1 then
                span.SetTag("http.request.resend_count", number - 1) |> ignore
        | _ -> ()

        let sending =
            match span with
            | null -> contextOf server
            | span -> contextOf span

        AttemptSpan(span, forms |> List.collect (fun form -> TraceContext.render form sending))

/// Spans by OpenTelemetry's semantic conventions for HTTP. While nobody listens, nothing is done. Never a query string, a
/// header or a body.
[<Sealed>]
type Tracing(version: string, forms: TraceForm list) =
    let source = new ActivitySource("k8sreq", version)

    let parentOf (context: TraceContext voption) : ActivityContext =
        match context with
        | ValueNone -> Unchecked.defaultof<ActivityContext>
        | ValueSome context ->
            ActivityContext(
                ActivityTraceId.CreateFromString(context.TraceId.AsSpan()),
                ActivitySpanId.CreateFromString(context.SpanId.AsSpan()),
                // Who leaves it open leaves it to the sampler, which goes by its parent: B3 means to be asked anew.
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

    /// A request has come in, with these lines in its head. None if nobody listens.
    member _.Start(method: string, path: string, host: string, lines: HeaderLine[]) : RequestTrace voption =
        if not (source.HasListeners()) then
            ValueNone
        else
            let struct (context, found) = TraceContext.extract forms lines
            let span = source.StartActivity(method, ActivityKind.Server, parentOf context)
            Activity.Current <- null

            match span with
            | null -> ValueNone
            | span ->
                if span.IsAllDataRequested then
                    span
                        .SetTag("http.request.method", method)
                        .SetTag("url.scheme", "http")
                        .SetTag("url.path", path)
                        .SetTag("server.address", host)
                    |> ignore

                // In the forms that came in; in the first that is known if none did.
                let answeredIn = if found.IsEmpty then List.truncate 1 forms else found
                ValueSome(RequestTrace(source, span, answeredIn))

    interface IDisposable with
        member _.Dispose() = source.Dispose()
