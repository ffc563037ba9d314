/// The reasons of the condition Ready as a table.
module K8sReq.Docs.Tests.ReasonReference

open System
open System.Net
open K8sReq.Core

let private service = ObjectKey.create "shop" "ci"

let private port: ServicePort = {
    Name = Some "http"
    Number = 80
    Protocol = "TCP"
    AppProtocol = Some "h2c"
}

/// One of each, in the order in which they are looked for.
let errors: ResolutionError list = [
    ResolutionError.InvalidSpec []
    ResolutionError.ServiceNotFound service
    ResolutionError.ServiceHeadless service
    ResolutionError.ServiceExternalName(service, "example.com")
    ResolutionError.ServiceWithoutAddress service
    ResolutionError.ServiceUnreadable(service, [])
    ResolutionError.ServiceAddressRefused(service, IPAddress.Loopback, "a loopback address")
    ResolutionError.ServicePortNotFound(service, PortRef.Unnamed, [])
    ResolutionError.ServicePortNotTcp(service, port)
    ResolutionError.ServicePortProtocolUnsupported(service, port)
    ResolutionError.TooManyForHost((HostName.parse "hooks.example" |> Result.toOption).Value, 1)
    ResolutionError.JournalNotConfigured
]

/// What it means, and what to do: a new case is a new row.
let private meaning (error: ResolutionError) : string =
    match error with
    | ResolutionError.InvalidSpec _ ->
        "The spec is not valid. The message names every field that is wrong. An API server that has this CustomResourceDefinition refuses such objects, so it is an older one"
    | ResolutionError.ServiceNotFound _ -> "There is no such Service in the RequestClone's namespace"
    | ResolutionError.ServiceHeadless _ ->
        "`clusterIP: None`: there is no address to send to. Create a second Service with a cluster IP for the same pods"
    | ResolutionError.ServiceExternalName _ ->
        "The Service is an alias of a name outside. Copies go to cluster addresses only"
    | ResolutionError.ServiceWithoutAddress _ -> "The Service has not been given an address yet"
    | ResolutionError.ServiceUnreadable _ ->
        "The Service's `clusterIP` is not a valid IP address. Leading zeros, short forms and zones are not valid"
    | ResolutionError.ServiceAddressRefused _ ->
        "The Service's `clusterIP` is a loopback, link-local, multicast or unspecified address (`ALLOW_LOCAL_TARGETS`)"
    | ResolutionError.ServicePortNotFound _ ->
        "The Service has no such port. The message lists the ports that it has"
    | ResolutionError.ServicePortNotTcp _ -> "The Service offers that port over UDP or SCTP only"
    | ResolutionError.ServicePortProtocolUnsupported _ ->
        "The port's `appProtocol` is `https`, `tls`, `grpc`, `h2c`, `http2`, `ws`, `wss`, or `kubernetes.io/` `h2c`, `ws` or `wss`. Copies are sent over plain HTTP/1.1 with any other value, or none"
    | ResolutionError.TooManyForHost _ ->
        "Its namespace has `MAX_CLONES_PER_HOST` other RequestClones for the host before it, by name"
    | ResolutionError.JournalNotConfigured ->
        "It asks for `durability: Journal` or has a `deadLetterSink`, and K8sReq runs without a journal (`JOURNAL`)"

let private reasonOf (resolved: Result<Target, ResolutionError>) = (Conditions.wanted resolved).Reason

let private target: Target = {
    Clone = service
    Host = (HostName.parse "hooks.example" |> Result.toOption).Value
    Service = service
    Address = IPAddress.Loopback
    Port = 80
    Matches = [||]
    Edit = HeadEdit.none
    Delivery = DeliveryPolicy.byDefault
}

// Of a RequestClone that was selected, and is no more.
let private notSelected () : string =
    let clone: RequestClone = {
        Key = service
        Spec = Error []
        Observed =
            Some {
                Uid = ""
                Generation = 1L
                StatusGeneration = None
                Ready = None
            }
    }

    match
        Conditions.notSelected DateTimeOffset.UnixEpoch "team=a" { Clone = clone; Resolved = Ok target }
    with
    | Some patch -> patch.Readiness.Reason
    | None -> failwith "nothing is written"

let render () : string =
    MarkdownTable.render [ "reason"; "`Ready`"; "" ] [
        [ MarkdownTable.code (reasonOf (Ok target)); "True"; "Requests are copied" ]
        for error in errors do
            [
                MarkdownTable.code (reasonOf (Error error))
                "False"
                MarkdownTable.cell (meaning error)
            ]
        [
            MarkdownTable.code (notSelected ())
            "False"
            "Its labels do not match `WATCH_LABEL_SELECTOR` any more"
        ]
    ]
