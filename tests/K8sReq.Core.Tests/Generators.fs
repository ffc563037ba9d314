/// Values for properties. The alphabets are small, so that keys, hosts and ports collide.
module K8sReq.Core.Tests.Generators

open System.Net
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core

let private key =
    Gen.map2 ObjectKey.create (Gen.elements [ "shop"; "blog" ]) (Gen.elements [ "a"; "b"; "c" ])

let private scope =
    Gen.elements [
        WatchScope.AllNamespaces
        WatchScope.Namespace "shop"
        WatchScope.Namespace "blog"
    ]

let private hostText =
    Gen.elements [
        "one.example"
        "ONE.example"
        "one.example."
        "two.example:80"
        "two.example"
    ]

let host text =
    match HostName.parse text with
    | Ok host -> host
    | Error error -> failwith $"{text}: {HostName.describeError error}"

let private portRef =
    Gen.elements [
        PortRef.Named "http"
        PortRef.Named "admin"
        PortRef.Number 80
        PortRef.Unnamed
        PortRef.Number 8080
    ]

let private spec = gen {
    let! hostText = hostText
    let! name = Gen.elements [ "a"; "b" ]
    let! port = portRef

    return {
        Host = host hostText
        Matches = []
        Filters = []
        ServiceName = name
        ServicePort = port
        Delivery = DeliveryPolicy.byDefault
    }
}

let private clone: Gen<RequestClone> = gen {
    let! key = key

    let! spec =
        Gen.frequency [
            9, Gen.map Ok spec
            1, Gen.constant (Error [ FieldFault.Missing "spec.host" ])
        ]

    let! generation = Gen.choose (1, 2)

    // Some differ in nothing but what is said of them.
    let observed = {
        Uid = string key
        Generation = int64 generation
        StatusGeneration = None
        Ready = None
    }

    return {
        Key = key
        Spec = spec
        Observed = Some observed
    }
}

let private servicePort = gen {
    let! name = Gen.elements [ Some "http"; Some "admin"; None ]
    let! number = Gen.elements [ 80; 8080 ]
    let! protocol = Gen.frequency [ 4, Gen.constant "TCP"; 1, Gen.constant "UDP" ]

    return {
        Name = name
        Number = number
        Protocol = protocol
        AppProtocol = None
    }
}

let private address =
    Gen.frequency [
        6,
        Gen.elements [ "10.0.0.1"; "10.0.0.2"; "fd00::1" ]
        |> Gen.map (IPAddress.Parse >> ServiceAddress.ClusterIP)
        1,
        Gen.elements [
            ServiceAddress.Headless
            ServiceAddress.Unassigned
            ServiceAddress.ExternalName "elsewhere.example"
            ServiceAddress.Unreadable [ FieldFault.Missing "spec" ]
        ]
    ]

let private service: Gen<BackendService> = gen {
    let! key = key
    let! address = address

    let! ports =
        Gen.choose (0, 3) |> Gen.bind (fun count -> Gen.listOfLength count servicePort)

    return {
        Key = key
        Address = address
        Ports = ports
    }
}

// A listing names each object once.
let private listing (keyOf: 'T -> ObjectKey) scope (objects: 'T list) =
    objects
    |> List.filter (keyOf >> WatchScope.covers scope)
    |> List.distinctBy keyOf

let private event =
    let listed objects =
        Gen.choose (0, 4) |> Gen.bind (fun count -> Gen.listOfLength count objects)

    Gen.frequency [
        6, Gen.map ClusterEvent.CloneApplied clone
        6, Gen.map ClusterEvent.ServiceApplied service
        2, Gen.map ClusterEvent.CloneDeleted key
        2, Gen.map ClusterEvent.ServiceDeleted key
        1,
        Gen.map2
            (fun scope clones -> ClusterEvent.ClonesListed(scope, listing _.Key scope clones))
            scope
            (listed clone)
        1,
        Gen.map2
            (fun scope services -> ClusterEvent.ServicesListed(scope, listing _.Key scope services))
            scope
            (listed service)
    ]

/// Spellings of hosts that `HostName.parse` accepts, each with the host it means.
type HostSpelling = { Text: string; Means: string }

let private hostSpelling = gen {
    let! labels =
        Gen.elements [ "a"; "b-c"; "x1"; "_dmarc"; "example"; "10" ]
        |> Gen.listOf
        |> Gen.map (List.truncate 6)

    let name = String.concat "." ("h" :: labels)
    let! upper = Gen.listOfLength name.Length (Gen.elements [ true; false ])

    let cased =
        (name, upper)
        ||> Seq.map2 (fun c isUpper -> if isUpper then System.Char.ToUpperInvariant c else c)
        |> Seq.toArray
        |> System.String

    let! dot = Gen.elements [ ""; "." ]
    let! port = Gen.elements [ ""; ":"; ":80"; ":65535" ]

    return {
        Text = cased + dot + port
        Means = name
    }
}

/// Registered with every property of this project.
type Arbitraries =
    static member Event() : Arbitrary<ClusterEvent> = Arb.fromGen event
    static member Service() : Arbitrary<BackendService> = Arb.fromGen service
    static member Clone() : Arbitrary<RequestClone> = Arb.fromGen clone
    static member HostSpelling() : Arbitrary<HostSpelling> = Arb.fromGen hostSpelling

let private config = {
    FsCheckConfig.defaultConfig with
        arbitrary = [ typeof<Arbitraries> ]
        maxTest = 500
}

let property name test = testPropertyWithConfig config name test
