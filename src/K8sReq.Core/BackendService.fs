namespace K8sReq.Core

open System.Net

/// A port of a Service. `Protocol` is as the Service says it, `TCP` where it says nothing.
type ServicePort = {
    Name: string option
    Number: int
    Protocol: string
}

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
