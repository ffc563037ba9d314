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

module BackendService =
    open Decoder

    // Any other spelling is one that two readers could take for two addresses.
    let private clusterAddress (path: string) (given: string) : Result<ServiceAddress, FieldFault> =
        match given, CanonicalAddress.tryParse given with
        | "", _ -> Ok ServiceAddress.Unassigned
        | "None", _ -> Ok ServiceAddress.Headless
        | _, Some address -> Ok(ServiceAddress.ClusterIP address)
        | _, None ->
            Error(
                FieldFault.BadValue(
                    path,
                    given,
                    "None or an IP address such as 10.96.0.1 (decimal, without leading zeros) or fd00::1 (without a zone)"
                )
            )

    let private address: FieldsDecoder<ServiceAddress> =
        fields {
            let! serviceType = orDefault "ClusterIP" "type" text
            and! alias = orDefault "" "externalName" text
            and! clusterIP = orDefault "" "clusterIP" text
            return serviceType, alias, clusterIP
        }
        |> refineFields (fun path (serviceType, alias, clusterIP) ->
            if serviceType = "ExternalName" then
                Ok(ServiceAddress.ExternalName alias)
            else
                clusterAddress $"{path}.clusterIP" clusterIP)

    let private portNumber: Decoder<int> =
        integer
        |> refine (fun path given ->
            if given >= 1L && given <= 65535L then
                Ok(int given)
            else
                Error(FieldFault.BadValue(path, string given, "a whole number from 1 to 65535")))

    let private port: Decoder<ServicePort> =
        object (
            fields {
                let! name = optional "name" text
                and! number = required "port" portNumber
                and! protocol = orDefault "TCP" "protocol" text
                and! appProtocol = optional "appProtocol" text

                return {
                    Name = name
                    Number = number
                    Protocol = protocol
                    AppProtocol = appProtocol
                }
            }
        )

    let private spec: Decoder<ServiceAddress * ServicePort list> =
        object (
            fields {
                let! address = address
                and! ports = orDefault [] "ports" (list port)
                return address, ports
            }
        )

    /// Services as the API server knows them. What this program does not use of one is not looked at.
    let kind: Kind<BackendService> = {
        Name = {
            Group = ""
            Version = "v1"
            Kind = "Service"
            Plural = "services"
        }
        IsSelected = false
        Read =
            fun _ key manifest ->
                match Kind.readSpec spec ObjectOrigin.Cluster manifest with
                | Ok(address, ports) -> {
                    Key = key
                    Address = address
                    Ports = ports
                  }
                | Error faults -> {
                    Key = key
                    Address = ServiceAddress.Unreadable faults
                    Ports = []
                  }
        KeyOf = _.Key
        Faults =
            fun service ->
                match service.Address with
                | ServiceAddress.Unreadable faults -> faults
                | ServiceAddress.ClusterIP _
                | ServiceAddress.Headless
                | ServiceAddress.ExternalName _
                | ServiceAddress.Unassigned -> []
    }
