/// What the client's exceptions mean.
module K8sReq.Kubernetes.ApiFailure

open System
open System.IO
open System.Net
open System.Net.Http
open System.Security.Authentication
open System.Text.Json
open FsToolkit.ErrorHandling
open k8s
open k8s.Autorest
open K8sReq.Core

let private rootReason (error: exn) = error.GetBaseException().Message

// The Status object that the API server answers with has a message for people.
let private messageOf (status: HttpStatusCode) (content: string | null) =
    let fromBody =
        match content with
        | null
        | "" -> None
        | content ->
            try
                use body = JsonDocument.Parse content

                match body.RootElement.TryGetProperty "message" with
                | true, message when message.ValueKind = JsonValueKind.String ->
                    Option.ofObj (message.GetString())
                | _ -> None
            with
            | :? JsonException
            | :? InvalidOperationException -> None

    fromBody |> Option.defaultValue $"the API server answered {int status}"

let private retryAfter (response: HttpResponseMessageWrapper) =
    match response.Headers.TryGetValue "Retry-After" with
    | true, NonNull values ->
        values
        |> Seq.tryHead
        |> Option.bind (fun value ->
            match Int32.TryParse value with
            | true, seconds when seconds >= 0 -> Some(TimeSpan.FromSeconds(float seconds))
            | _ -> None)
    | _ -> None

let private ofStatus (code: int) (message: string) (wait: TimeSpan option) =
    match code with
    | 401 -> WatchEnd.Failed(WatchFault.Unauthorized message)
    | 403 -> WatchEnd.Failed(WatchFault.Forbidden message)
    | 404 -> WatchEnd.Failed(WatchFault.UnknownKind message)
    | 410 -> WatchEnd.Expired
    | 429 -> WatchEnd.Throttled wait
    | _ -> WatchEnd.Failed(WatchFault.Unreachable message)

// The server's certificate is not trusted: its authority may have been replaced.
let rec private isUntrusted (error: exn) =
    match error with
    | :? AuthenticationException -> true
    | _ ->
        match error.InnerException with
        | null -> false
        | inner -> isUntrusted inner

/// How a list or a watch ended that threw this.
let toEnd (error: exn) : WatchEnd =
    match error with
    | :? HttpOperationException as answered ->
        let status = answered.Response.StatusCode
        ofStatus (int status) (messageOf status answered.Response.Content) (retryAfter answered.Response)
    | :? KubernetesException as failed ->
        match failed.Status with
        | null -> WatchEnd.Failed(WatchFault.Unreachable failed.Message)
        | status -> ofStatus (status.Code.GetValueOrDefault()) (string status.Message) None
    // A watch that was closed before its first event: the client expected a line.
    | :? HttpRequestException as broken when (broken.InnerException :? EndOfStreamException) ->
        WatchEnd.Closed
    | other when isUntrusted other -> WatchEnd.Failed(WatchFault.Untrusted(rootReason other))
    | other -> WatchEnd.Failed(WatchFault.Unreachable(rootReason other))

/// The status code that a request was refused with; None if no answer came.
let tryStatus (error: exn) : int option =
    match error with
    | :? HttpOperationException as answered -> Some(int answered.Response.StatusCode)
    | _ -> None

/// Whether credentials or authorities have to be read again: the server does not accept the ones (401), or is not trusted
/// by the others.
let needsRenewal (error: exn) : bool =
    tryStatus error = Some 401 || isUntrusted error

/// One line for people.
let describe (error: exn) : string =
    match toEnd error with
    | WatchEnd.Failed(WatchFault.Unauthorized detail)
    | WatchEnd.Failed(WatchFault.Forbidden detail)
    | WatchEnd.Failed(WatchFault.UnknownKind detail)
    | WatchEnd.Failed(WatchFault.Untrusted detail)
    | WatchEnd.Failed(WatchFault.Unreachable detail) -> detail
    | WatchEnd.Throttled _ -> "the API server asks to be left alone (429)"
    | WatchEnd.Closed
    | WatchEnd.Idle
    | WatchEnd.Expired -> rootReason error

/// What a write that failed says of the next one. Refusals are the object's; timeouts, broken connections, refused
/// credentials (401), too many requests (429) and faults of the server (5xx) are the server's.
let ofWrite (error: exn) : StatusFailure =
    match error with
    | :? HttpOperationException as answered ->
        match int answered.Response.StatusCode with
        | 401
        | 408
        | 429 -> StatusFailure.OfServer(retryAfter answered.Response)
        | code when code >= 500 -> StatusFailure.OfServer(retryAfter answered.Response)
        | _ -> StatusFailure.OfObject
    | _ -> StatusFailure.OfServer None
