namespace K8sReq.Host.Proxy

open System.Collections.Generic
open System.Net
open K8sReq.Core

/// The lanes of the routing table in force, by host. One writer, any number of readers, no lock.
[<Sealed>]
type LaneDirectory(createLane: Target -> Lane) =
    // A lane leads to an address for a RequestClone. How copies are delivered may change on the way.
    let keyOf (target: Target) =
        struct (target.Clone, target.Address, target.Port)

    let index = HostIndex<Lane[]>()
    let lanes = Dictionary<HostName, Lane[]>()

    /// The lanes of a host in any of its spellings; empty if there are none. Read it only.
    member _.Find(host: string) : Lane[] =
        index.TryFind host |> ValueOption.defaultValue [||]

    /// Puts the targets of these hosts in force, those of each host at once. A target that was routed before keeps its
    /// lane; the lanes of those that are routed no more are retired after that, so that whoever meets one finds what
    /// takes its place here.
    member _.Update(routes: Map<HostName, Target[]>, changed: Set<HostName>) : unit =
        let before = Dictionary<struct (ObjectKey * IPAddress * int), Lane>()

        for host in changed do
            match lanes.TryGetValue host with
            | true, lanes ->
                for lane in lanes do
                    before[keyOf lane.Target] <- lane
            | false, _ -> ()

        let laneOf (target: Target) =
            let mutable kept = Unchecked.defaultof<Lane>

            if before.Remove(keyOf target, &kept) then
                kept.Update target
                kept
            else
                createLane target

        for host in changed do
            match routes.TryFind host with
            | Some targets ->
                let now = Array.map laneOf targets
                lanes[host] <- now
                index.Set(host, now)
            | None ->
                lanes.Remove host |> ignore
                index.Remove host

        for gone in before.Values do
            gone.Retire()
