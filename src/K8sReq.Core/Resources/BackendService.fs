namespace K8sReq.Core

open System.Net

/// A port of a Service. `Protocol` is as the Service says it, `TCP` where it says nothing. `AppProtocol` is what is spoken
/// over it, where the Service says that.
type ServicePort = {
    Name: string option
    Number: int
    Protocol: string
    AppProtocol: string option
}

module ServicePort =
    // What a server takes none of our copies by: TLS first, HTTP/2 alone, or the frames of WebSocket. Any other name, of
    // whichever prefix, says nothing against HTTP/1.1.
    let private notHttp1 =
        set [
            "https"
            "tls"
            "grpc"
            "h2c"
            "http2"
            "ws"
            "wss"
            "kubernetes.io/h2c"
            "kubernetes.io/ws"
            "kubernetes.io/wss"
        ]

    /// Whether a copy can be sent to it: in HTTP/1.1, without TLS.
    let takesPlainHttp (port: ServicePort) : bool =
        match port.AppProtocol with
        | None -> true
        | Some name -> not (notHttp1.Contains(name.ToLowerInvariant()))

/// How a Service is reached.
[<RequireQualifiedAccess>]
type ServiceAddress =
    /// `spec.clusterIP` is an address.
    | ClusterIP of IPAddress
    /// `spec.clusterIP` is `None`: the Service has no address of its own.
    | Headless
    /// The Service is a DNS alias.
    | ExternalName of string
    /// No address has been given to it (yet).
    | Unassigned
    /// The object cannot be read. A cluster does not store such a Service; a manifest may hold one.
    | Unreadable of FieldFault list

/// What is needed of a Service to send it copies.
type BackendService = {
    Key: ObjectKey
    Address: ServiceAddress
    Ports: ServicePort list
}
