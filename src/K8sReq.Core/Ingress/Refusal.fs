namespace K8sReq.Core

open System

/// How the connection of a request goes on that was refused before it was read to its end.
[<RequireQualifiedAccess>]
type RefusedConnection =
    /// Some of the request is unread: it is read if it is short and comes soon, else the connection is closed.
    | ReadRest
    | Close
    /// Nobody reads a response.
    | Abort

/// Why a request is not copied. Nothing of it is.
[<RequireQualifiedAccess>]
type Refusal =
    /// Method, target, host or header name are not HTTP.
    | Malformed
    /// CONNECT: what comes through a tunnel cannot be copied.
    | Tunnel
    /// Both Content-Length and Transfer-Encoding, or the latter in HTTP/1.0.
    | AmbiguousLength
    /// A transfer coding other than chunked.
    | UnknownTransferCoding
    | ControlInHeader
    /// The Via entry that names this proxy.
    | Loop of entry: string
    | RoutesUnknown
    | NoTarget
    /// The host has targets, and none of them wants this request (`spec.matches`).
    | NoMatch
    | TooLarge of limit: int64
    | TooSlow of limit: TimeSpan
    /// The body is not what its framing says; the server's own words.
    | BadBody of status: int * reason: string
    /// No memory or no queue has room for it now.
    | Busy
    /// The journal cannot keep it now.
    | NotKept
    | ClientGone

module Refusal =
    /// The HTTP status. 499, which nobody is sent, is how logs and metrics name a client that went away.
    let status (refusal: Refusal) : int =
        match refusal with
        | Refusal.Malformed
        | Refusal.AmbiguousLength
        | Refusal.ControlInHeader -> 400
        | Refusal.Tunnel
        | Refusal.UnknownTransferCoding -> 501
        | Refusal.Loop _ -> 508
        | Refusal.RoutesUnknown
        | Refusal.NoTarget
        | Refusal.NoMatch
        | Refusal.Busy
        | Refusal.NotKept -> 503
        | Refusal.TooLarge _ -> 413
        | Refusal.TooSlow _ -> 408
        | Refusal.BadBody(status, _) -> status
        | Refusal.ClientGone -> 499

    /// Why, for the log: nothing that the client sent is in it.
    let reason (refusal: Refusal) : string =
        match refusal with
        | Refusal.Malformed -> "The method, target, host or a header name is not valid HTTP."
        | Refusal.Tunnel -> "CONNECT is not copied."
        | Refusal.AmbiguousLength ->
            "A request has Content-Length or Transfer-Encoding, not both, and not the latter in HTTP/1.0."
        | Refusal.UnknownTransferCoding -> "Unsupported transfer coding: only chunked is supported."
        | Refusal.ControlInHeader -> "A header value contains a control character."
        | Refusal.Loop _ -> "Its Via header names this proxy (VIA_NAME)."
        | Refusal.RoutesUnknown -> "The routes are not known yet."
        | Refusal.NoTarget -> "No target is configured for this host."
        | Refusal.NoMatch -> "No target of this host takes this request (spec.matches)."
        | Refusal.TooLarge limit -> $"The body is larger than {limit} bytes."
        | Refusal.TooSlow limit -> $"The body took longer than {GoDuration.render limit}."
        | Refusal.BadBody(_, reason) -> reason
        | Refusal.Busy -> "Too many requests are waiting to be copied."
        | Refusal.NotKept -> "The journal cannot keep the request now."
        | Refusal.ClientGone -> "The client went away before its request was complete."

    /// Why, in a word: the `reason` label of `k8sreq_requests_total`, and part of the interface. There are these and no more.
    let word (refusal: Refusal) : string =
        match refusal with
        | Refusal.Malformed -> "malformed"
        | Refusal.Tunnel -> "tunnel"
        | Refusal.AmbiguousLength -> "ambiguous_length"
        | Refusal.UnknownTransferCoding -> "transfer_coding"
        | Refusal.ControlInHeader -> "control_in_header"
        | Refusal.Loop _ -> "loop"
        | Refusal.RoutesUnknown -> "routes_unknown"
        | Refusal.NoTarget -> "no_route"
        | Refusal.NoMatch -> "no_match"
        | Refusal.TooLarge _ -> "too_large"
        | Refusal.TooSlow _ -> "too_slow"
        | Refusal.BadBody _ -> "bad_body"
        | Refusal.Busy -> "no_room"
        | Refusal.NotKept -> "journal"
        | Refusal.ClientGone -> "client_gone"

    /// The same for a request that the server refused by itself, or that ended by an error, of which the status is all that is
    /// known. Empty for a request that was accepted.
    let wordOfStatus (status: int) : string =
        match status with
        | 408 -> "too_slow"
        | 413
        | 414
        | 431 -> "too_large"
        | 499 -> "client_gone"
        | status when status >= 500 && status <> 505 -> "error"
        | status when status >= 400 -> "malformed"
        | _ -> ""

    /// The text of the response.
    let text (refusal: Refusal) : string =
        match refusal with
        | Refusal.Loop entry ->
            $"This request has passed this proxy before: its Via header names \"{entry}\". Two proxies in a chain need different names (VIA_NAME)."
        | refusal -> reason refusal

    /// When to ask again, as a Retry-After header says it; none where that would not help. What is waited for is a send or
    /// two, a fraction of a second; a second is the least that the header can say.
    let retryAfter (refusal: Refusal) : string voption =
        match refusal with
        | Refusal.RoutesUnknown
        | Refusal.Busy
        | Refusal.NotKept -> ValueSome "1"
        | _ -> ValueNone

    /// How the connection goes on, of a refusal before the body was read.
    let connection (refusal: Refusal) : RefusedConnection =
        match refusal with
        | Refusal.Loop _
        | Refusal.NoTarget
        | Refusal.NoMatch -> RefusedConnection.ReadRest
        | Refusal.ClientGone -> RefusedConnection.Abort
        | Refusal.Malformed
        | Refusal.Tunnel
        | Refusal.AmbiguousLength
        | Refusal.UnknownTransferCoding
        | Refusal.ControlInHeader
        | Refusal.RoutesUnknown
        | Refusal.TooLarge _
        | Refusal.TooSlow _
        | Refusal.BadBody _
        | Refusal.Busy
        | Refusal.NotKept -> RefusedConnection.Close
