namespace K8sReq.Host.Proxy

open System.Collections.Generic
open System.Net
open System.Threading
open K8sReq.Core

/// The lanes of the routing table in force, by host. One writer, any number of readers, no lock.
[<Sealed>]
type LaneDirectory(createLane: Target -> Lane) =
    // A lane leads to an address for a RequestClone. How copies are delivered may change on the way.
    let keyOf (target: Target) =
        struct (target.Clone, target.Address, target.Port)

    let mutable lanes = Dictionary<struct (ObjectKey * IPAddress * int), Lane>()
    let mutable index = HostIndex<Lane[]> []

    /// The lanes of a host in any of its spellings; empty if there are none. Read it only.
    member _.Find(host: string) : Lane[] =
        (Volatile.Read &index).TryFind host |> ValueOption.defaultValue [||]

    /// Puts a table in force. A target that was routed before keeps its lane; the lanes of those that are routed no
    /// more are retired after that, so that whoever meets one finds what takes its place here.
    member _.Update(table: RouteTable) : unit =
        let before = lanes
        let now = Dictionary()

        let laneOf (target: Target) =
            let lane =
                match before.TryGetValue(keyOf target) with
                | true, kept ->
                    kept.Update target
                    kept
                | false, _ -> createLane target

            now[keyOf target] <- lane
            lane

        let entries = [
            for KeyValue(host, targets) in table.Routes -> host, Array.map laneOf targets
        ]

        lanes <- now
        Volatile.Write(&index, HostIndex entries)

        for KeyValue(key, lane) in before do
            if not (now.ContainsKey key) then
                lane.Retire()
