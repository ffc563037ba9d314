/// `/api/tap`: requests and copies as they happen, an object a line. Field names are part of the interface.
module K8sReq.Host.Admin.Status.TapFeed

open System
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin
open K8sReq.Host.Admin.JsonOutput

/// What one reader wants to see.
type TapFilter = {
    Host: string option
    /// NAMESPACE/NAME
    Clone: string option
    OnlyFailed: bool
    /// Path and query too.
    Paths: bool
}

let private filterOf (ctx: HttpContext) : TapFilter = {
    Host = QueryField.given ctx "host"
    Clone = QueryField.given ctx "clone"
    OnlyFailed = QueryField.given ctx "failed" = Some "true"
    Paths = QueryField.given ctx "paths" = Some "true"
}

// As routes find them: without a port or a trailing dot, in any case.
let private isHost (wanted: string) (given: string) : bool =
    match HostName.parse wanted, HostName.parse given with
    | Ok wanted, Ok given -> wanted = given
    | _ -> wanted.Equals(given, StringComparison.OrdinalIgnoreCase)

/// Whether a reader with this filter is sent the event. Accepted requests are sent with every filter: a copy's line is understood
/// by its request's.
let isWanted (filter: TapFilter) (event: TapEvent) : bool =
    let isOfHost host =
        filter.Host |> Option.forall (fun wanted -> isHost wanted host)

    match event with
    | TapEvent.Request request -> isOfHost request.Host && (request.Reason = "" || filter.Clone.IsNone)
    | TapEvent.Copy copy ->
        isOfHost copy.Target.Host.Value
        && filter.Clone |> Option.forall (fun wanted -> wanted = string copy.Target.Clone)
        && not (filter.OnlyFailed && TargetOutcome.isDelivered copy.Outcome)

let private id (json: Utf8JsonWriter) (id: Guid) =
    if id = Guid.Empty then
        json.WriteNull "request"
    else
        json.WriteString("request", id)

let private writeRequest (json: Utf8JsonWriter) (paths: bool) (request: TappedRequest) =
    json.WriteString("kind", "request")
    time json "time" (Some request.At)
    id json request.Id
    json.WriteString("method", request.Method)
    json.WriteString("host", request.Host)

    if paths then
        json.WriteString("target", request.Target)

    json.WriteNumber("status", request.Status)

    if request.Reason <> "" then
        json.WriteString("reason", request.Reason)

    json.WriteNumber("copies", request.Copies)

let private writeCopy (json: Utf8JsonWriter) (copy: TappedCopy) =
    json.WriteString("kind", "copy")
    time json "time" (Some copy.At)
    id json copy.Id
    json.WriteString("method", copy.Method)
    json.WriteString("host", copy.Target.Host.Value)
    json.WriteString("clone", string copy.Target.Clone)
    json.WriteString("address", copy.Target.Endpoint)
    json.WriteString("outcome", TargetOutcome.countedAs copy.Outcome)
    json.WriteString("detail", TargetOutcome.describe copy.Outcome)

    match TargetOutcome.status copy.Outcome with
    | ValueSome status -> json.WriteNumber("status", status)
    | ValueNone -> json.WriteNull "status"

    json.WriteNumber("attempts", copy.Attempts)
    seconds json "durationSeconds" (Some copy.Duration)

let private line (write: Utf8JsonWriter -> unit) : byte[] =
    Array.append (render (fun json -> object json (fun () -> write json))) "\n"B

let private ofEvent (filter: TapFilter) (event: TapEvent) : byte[] =
    line (fun json ->
        match event with
        | TapEvent.Request request -> writeRequest json filter.Paths request
        | TapEvent.Copy copy -> writeCopy json copy)

let private ofMissed (count: int64) : byte[] =
    line (fun json ->
        json.WriteString("kind", "missed")
        json.WriteNumber("events", count))

// Until the reader goes, or the program ends.
let private follow (tap: TapReader) (filter: TapFilter) (body: Stream) (stop: CancellationToken) : Task = task {
    // The headers, at once: the reader knows now that it sees what happens from here on.
    do! body.FlushAsync stop
    let mutable isOpen = true

    while isOpen do
        let! isMore = tap.Events.WaitToReadAsync stop
        isOpen <- isMore
        let mutable event = Unchecked.defaultof<TapEvent>

        while tap.Events.TryRead &event do
            if isWanted filter event then
                do! body.WriteAsync(ofEvent filter event, stop)

        let missed = tap.TakeMissed()

        if missed > 0L then
            do! body.WriteAsync(ofMissed missed, stop)

        do! body.FlushAsync stop
}

/// The feed. `stop` ends it, which would go on for ever else.
let handler (tap: Tap) (stop: CancellationToken) : HttpHandler =
    let refusal =
        (setStatusCode StatusCodes.Status503ServiceUnavailable
         >=> text "Too many taps are open.\n")
            earlyReturn

    fun _ ctx -> task {
        match tap.TryOpen() with
        | ValueNone -> return! refusal ctx
        | ValueSome reader ->
            use ended =
                CancellationTokenSource.CreateLinkedTokenSource(stop, ctx.RequestAborted)

            ctx.Response.ContentType <- "application/x-ndjson"

            try
                try
                    do! follow reader (filterOf ctx) ctx.Response.Body ended.Token
                with
                | :? OperationCanceledException
                | :? IOException -> ()
            finally
                tap.Close reader

            return Some ctx
    }
