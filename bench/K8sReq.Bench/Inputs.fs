/// Routes by the thousand, as values.
module K8sReq.Bench.Inputs

open System.Net
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let namespaces = 100

let namespaceOf n = $"ns{n % namespaces}"
let hostOf n = $"h{n}.example"

let serviceOf n port : BackendService = {
    Key = ObjectKey.create (namespaceOf n) $"app{n}"
    Address = ServiceAddress.ClusterIP IPAddress.Loopback
    Ports = [
        {
            Name = Some "http"
            Number = port
            Protocol = "TCP"
            AppProtocol = None
        }
    ]
}

let cloneOf n : RequestClone = {
    Key = ObjectKey.create (namespaceOf n) $"copy{n}"
    Spec =
        HostName.parse (hostOf n)
        |> Result.map (fun host -> CloneSpec.create host $"app{n}" (PortRef.Named "http"))
        |> Result.mapError (fun _ -> [])
    Observed = None
}

let newLane target =
    target
    |> Targets.lane
        {
            Concurrency = 256
            QueueBytes = 1_000_000L
        }
        {
            Overflowed = ignore
            Recovered = fun _ _ -> ()
        }

/// Puts a routing in force.
let publish (lanes: LaneDirectory) (routing: Routing) : Routing =
    for lane in lanes.Update(routing.Routes, routing.ChangedHosts).Gone do
        lane.Retire()

    Routing.settled routing

/// So many hosts, each with a RequestClone and a Service of its own, in force.
let routingOf (lanes: LaneDirectory) (hosts: int) : Routing =
    let all = [ 0 .. hosts - 1 ]

    Routing.fold Routing.initial [
        ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [ for n in all -> serviceOf n 80 ])
        ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [ for n in all -> cloneOf n ])
    ]
    |> publish lanes
