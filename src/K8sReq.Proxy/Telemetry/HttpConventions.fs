/// How OpenTelemetry's semantic conventions spell what is known of a request:
/// https://opentelemetry.io/docs/specs/semconv/http/
module K8sReq.Proxy.HttpConventions

open System
open System.Globalization
open K8sReq.Core

/// The methods that the conventions name; others are one: what clients make up has no bounds.
let methodName (method: string) : string =
    match method with
    | "GET"
    | "POST"
    | "PUT"
    | "DELETE"
    | "HEAD"
    | "PATCH"
    | "OPTIONS"
    | "TRACE"
    | "CONNECT"
    | "QUERY" -> method
    | _ -> "_OTHER"

/// What a span of this method is called.
let spanName (method: string) : string =
    match methodName method with
    | "_OTHER" -> "HTTP"
    | name -> name

/// `network.protocol.version` of a protocol as the server names it.
let versionOf (protocol: string) : string =
    match protocol with
    | "HTTP/1.0" -> "1.0"
    | "HTTP/2" -> "2"
    | _ -> "1.1"

/// `server.address`, and `server.port` where the client has said one.
let serverOf (host: string) : struct (string * int voption) =
    match host.LastIndexOf ':' with
    | -1 -> struct (host, ValueNone)
    | colon ->
        match Int32.TryParse(host.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, port -> struct (host.Substring(0, colon), ValueSome port)
        // The end of an IPv6 address, or of something that is no host.
        | false, _ -> struct (host, ValueNone)

/// `url.path` of a request target: never its query.
let pathOf (target: string) : string =
    let target = RequestTarget.originForm target

    match target.IndexOfAny [| '?'; '#' |] with
    | -1 -> target
    | queryStart -> target.Substring(0, queryStart)
