namespace K8sReq.Core

open System.Net

/// Where the copies of one RequestClone go now.
type Target = {
    Clone: ObjectKey
    Host: HostName
    Service: ObjectKey
    Address: IPAddress
    Port: int
    /// Of the host's requests it gets those that one of these means; all of them where there are none.
    Matches: RequestMatch[]
    /// What is changed in the heads of its copies.
    Edit: HeadEdit
    Delivery: DeliveryPolicy
} with

    /// `address:port`, with an IPv6 address in brackets.
    member target.Endpoint = IPEndPoint(target.Address, target.Port).ToString()

/// Why a RequestClone is not routed.
[<RequireQualifiedAccess>]
type ResolutionError =
    | InvalidSpec of FieldFault list
    | ServiceNotFound of ObjectKey
    | ServiceUnreadable of ObjectKey * FieldFault list
    | ServiceHeadless of ObjectKey
    | ServiceExternalName of ObjectKey * alias: string
    | ServiceWithoutAddress of ObjectKey
    /// `what` is the kind of address.
    | ServiceAddressRefused of ObjectKey * IPAddress * what: string
    /// Its namespace has so many others for the host that come before it by name.
    | TooManyForHost of HostName * most: int
    | ServicePortNotFound of ObjectKey * wanted: PortRef * offered: ServicePort list
    | ServicePortNotTcp of ObjectKey * ServicePort
    | ServicePortProtocolUnsupported of ObjectKey * ServicePort
    /// It asks for a journal, and the program has none.
    | JournalNotConfigured

module Resolution =
    let private isWanted wanted (port: ServicePort) =
        match wanted with
        | PortRef.Named name -> port.Name = Some name
        | PortRef.Number number -> port.Number = number
        | PortRef.Unnamed -> port.Name = None

    let private findPort (service: BackendService) (wanted: PortRef) =
        // The same number may be offered over TCP and UDP at once: DNS does that.
        match service.Ports |> List.filter (isWanted wanted) with
        | [] -> Error(ResolutionError.ServicePortNotFound(service.Key, wanted, service.Ports))
        | first :: _ as ports ->
            match ports |> List.tryFind (fun port -> port.Protocol = "TCP") with
            | Some port when ServicePort.takesPlainHttp port -> Ok port.Number
            | Some port -> Error(ResolutionError.ServicePortProtocolUnsupported(service.Key, port))
            | None -> Error(ResolutionError.ServicePortNotTcp(service.Key, first))

    let private addressOf (service: BackendService) =
        match service.Address with
        | ServiceAddress.ClusterIP address -> Ok address
        | ServiceAddress.Headless -> Error(ResolutionError.ServiceHeadless service.Key)
        | ServiceAddress.ExternalName alias -> Error(ResolutionError.ServiceExternalName(service.Key, alias))
        | ServiceAddress.Unassigned -> Error(ResolutionError.ServiceWithoutAddress service.Key)
        | ServiceAddress.Unreadable faults -> Error(ResolutionError.ServiceUnreadable(service.Key, faults))

    // The address and port of a Service.
    let private endpointOf (services: Map<ObjectKey, BackendService>) (service: ObjectKey) (port: PortRef) =
        match services.TryGetValue service with
        | false, _ -> Error(ResolutionError.ServiceNotFound service)
        | true, service ->
            addressOf service
            |> Result.bind (fun address -> findPort service port |> Result.map (fun port -> address, port))

    let private targetOf (services: Map<ObjectKey, BackendService>) (key: ObjectKey) (spec: CloneSpec) =
        let service = ObjectKey.create key.Namespace spec.ServiceName

        endpointOf services service spec.ServicePort
        |> Result.map (fun (address, port) -> {
            Clone = key
            Host = spec.Host
            Service = service
            Address = address
            Port = port
            Matches = Array.ofList spec.Matches
            Edit = HeadEdit.ofFilters spec.Filters
            Delivery = spec.Delivery
        })

    /// Where the dead letters of a target's RequestClone are sent besides, from the Services as they are now; None if nowhere.
    let sinkOf
        (services: Map<ObjectKey, BackendService>)
        (target: Target)
        : Result<Target, ResolutionError> option =
        target.Delivery.DeadLetterSink
        |> Option.map (fun sink ->
            let service = ObjectKey.create target.Clone.Namespace sink.ServiceName

            endpointOf services service sink.ServicePort
            |> Result.map (fun (address, port) -> {
                target with
                    Service = service
                    Address = address
                    Port = port
            }))

    /// Finds the address that a RequestClone's copies go to, from the Services as they are now.
    /// The Service is looked up in the RequestClone's own namespace.
    let resolve
        (services: Map<ObjectKey, BackendService>)
        (clone: RequestClone)
        : Result<Target, ResolutionError> =
        match clone.Spec with
        | Error faults -> Error(ResolutionError.InvalidSpec faults)
        | Ok spec -> targetOf services clone.Key spec

    let private describePort (port: ServicePort) =
        match port.Name with
        | Some name -> $"{name} ({port.Number})"
        | None -> string port.Number

    /// One line for people: what is wrong, and with which object.
    let describeError (error: ResolutionError) =
        match error with
        | ResolutionError.InvalidSpec faults -> FieldFault.describeAll faults
        | ResolutionError.ServiceNotFound key -> $"Service {key} does not exist"
        | ResolutionError.ServiceUnreadable(key, faults) ->
            $"Service {key} is not valid: {FieldFault.describeAll faults}"
        | ResolutionError.ServiceHeadless key ->
            $"Service {key} is headless (clusterIP: None): it has no address to send to"
        | ResolutionError.ServiceExternalName(key, alias) ->
            $"Service {key} is an ExternalName (an alias of {alias}): copies go to cluster addresses only"
        | ResolutionError.ServiceWithoutAddress key -> $"Service {key} has no clusterIP"
        | ResolutionError.ServiceAddressRefused(key, address, what) ->
            $"Service {key} has the address {address}, {what}: copies are not sent there (ALLOW_LOCAL_TARGETS)"
        | ResolutionError.TooManyForHost(host, most) ->
            $"its namespace has {most} other RequestClones for {host} before it, and no more are served (MAX_CLONES_PER_HOST)"
        | ResolutionError.ServicePortNotFound(key, wanted, []) ->
            $"Service {key} has no port {wanted}: it has none at all"
        | ResolutionError.ServicePortNotFound(key, wanted, offered) ->
            let offers = offered |> List.map describePort |> String.concat ", "
            $"Service {key} has no port {wanted}: it has {offers}"
        | ResolutionError.ServicePortNotTcp(key, port) ->
            $"Service {key} offers port {describePort port} over {port.Protocol} only, not TCP"
        | ResolutionError.ServicePortProtocolUnsupported(key, port) ->
            let appProtocol = defaultArg port.AppProtocol ""

            $"Service {key} has appProtocol {appProtocol} for port {describePort port}: copies can only be sent over plain HTTP/1.1"
        | ResolutionError.JournalNotConfigured ->
            "it asks for a journal (spec.delivery.durability, or deadLetterSink), and K8sReq runs without one (JOURNAL), or keeps copies in memory by default (DURABILITY)"
