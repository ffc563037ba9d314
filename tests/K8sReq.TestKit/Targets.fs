/// Targets as the routing table has them.
module K8sReq.TestKit.Targets

open System.Net
open System
open K8sReq.Core
open K8sReq.Proxy

/// A target on loopback, of a RequestClone and a Service of this name.
let at (port: int) (name: string) : Target =
    match HostName.parse "a.example" with
    | Ok host -> {
        Clone = ObjectKey.create "shop" name
        Host = host
        Service = ObjectKey.create "shop" name
        Address = IPAddress.Loopback
        Port = port
        Matches = [||]
        Edit = HeadEdit.none
        Delivery = DeliveryPolicy.byDefault
      }
    | Error error -> failwith $"{error}"

let named (name: string) : Target = at 1 name

/// A table that routes to exactly these.
let table (targets: Target list) : RouteTable =
    ClusterState.fold ClusterState.initial [
        for target in targets do
            ClusterEvent.ServiceApplied {
                Key = target.Service
                Address = ServiceAddress.ClusterIP target.Address
                Ports = [
                    {
                        Name = None
                        Number = target.Port
                        Protocol = "TCP"
                        AppProtocol = None
                    }
                ]
            }

            ClusterEvent.CloneApplied {
                Key = target.Clone
                Spec =
                    Ok {
                        Host = target.Host
                        Matches = []
                        Filters = []
                        ServiceName = target.Service.Name
                        ServicePort = PortRef.Number target.Port
                        Delivery = target.Delivery
                    }
                Observed = None
            }
    ]
    |> RouteTable.ofState

/// A lane to a target, with statistics that nobody reads, which has its turns here.
let laneIn (turns: Turns) (limits: LaneLimits) (events: LaneEvents) (target: Target) : Lane =
    Lane(TimeProvider.System, turns, target, limits, events, CloneStatistics target.Clone)

/// The same with turns of its own.
let lane (limits: LaneLimits) (events: LaneEvents) (target: Target) : Lane =
    laneIn (Turns Environment.ProcessorCount) limits events target
