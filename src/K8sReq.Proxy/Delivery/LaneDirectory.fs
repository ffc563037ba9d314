namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Net
open K8sReq.Core

/// What a request needs to know of its host: one lane for each target, ordered by RequestClone, and what the requests of
/// the host hold of the memory.
[<Sealed>]
type HostEntry(lanes: Lane[], share: BudgetShare) =
    /// Shared: read it only.
    member _.Lanes = lanes

    /// Whether one of the targets wants this request.
    member _.IsWanted(head: RequestHead) : bool =
        let mutable isWanted = false
        let mutable index = 0

        while not isWanted && index < lanes.Length do
            isWanted <- RequestMatch.isAnyMet head lanes[index].Target.Matches
            index <- index + 1

        isWanted

    member _.Share = share

/// The lanes that the hosts of a new routing table have, and those that have come to their end.
[<NoEquality; NoComparison>]
type LaneUpdate = {
    Hosts: HostMap<HostEntry>
    /// To be retired once the hosts are published, so that a request that meets a retired lane finds its successor.
    Gone: Lane list
}

/// Keeps the lanes of targets from one routing table to the next. For one writer.
[<Sealed>]
type LaneDirectory(createLane: Target -> Lane) =
    let mutable hosts = HostMap<HostEntry>.Empty

    // A lane leads to an address for a RequestClone. How copies are delivered may change on the way.
    let keyOf (target: Target) =
        struct (target.Clone, target.Address, target.Port)

    let isSameWay (one: Target) (other: Target) =
        one.Clone = other.Clone
        && one.Port = other.Port
        && one.Address.Equals other.Address

    // Goes through both, which are ordered by RequestClone, and gives the lanes of those targets that have one; null for the
    // others. A host may have thousands of targets of which one has changed: each of the rest costs a comparison.
    let keep (dismiss: Lane -> unit) (before: Lane[]) (targets: Target[]) : Lane[] =
        let now = Array.zeroCreate<Lane> targets.Length
        let mutable next = 0

        for index in 0 .. targets.Length - 1 do
            let target = targets[index]
            let mutable isAhead = false

            while not isAhead && next < before.Length do
                let lane = before[next]

                if Object.ReferenceEquals(lane.Target, target) then
                    now[index] <- lane
                    next <- next + 1
                    isAhead <- true
                else
                    let order = compare lane.Target.Clone target.Clone
                    isAhead <- order >= 0

                    if order = 0 && isSameWay lane.Target target then
                        lane.Update target
                        now[index] <- lane
                        next <- next + 1
                    elif order <= 0 then
                        dismiss lane
                        next <- next + 1

        for index in next .. before.Length - 1 do
            dismiss before[index]

        now

    let take (gone: Dictionary<_, Lane>) (target: Target) : Lane =
        let mutable lane = Unchecked.defaultof<Lane>

        if gone.Remove(keyOf target, &lane) then
            lane.Update target
            lane
        else
            createLane target

    let shareOf (before: HostEntry voption) =
        match before with
        | ValueSome entry -> entry.Share
        | ValueNone -> BudgetShare.ofHost ()

    /// The hosts with the targets of these routes, where `changed` names all hosts whose targets are not the same as before. A
    /// target that was routed before keeps its lane, also when its RequestClone has moved to another host.
    member _.Update(routes: HostMap<Target[]>, changed: Set<HostName>) : LaneUpdate =
        // By what the lanes lead to: a RequestClone may have moved from one host to another.
        let gone = Dictionary<struct (ObjectKey * IPAddress * int), Lane>()
        let updated = ResizeArray<struct (HostName * Target[] * Lane[])>()

        for host in changed do
            let before =
                match hosts.TryGet host with
                | ValueSome entry -> entry.Lanes
                | ValueNone -> [||]

            let targets = routes.TryGet host |> ValueOption.defaultValue [||]
            let now = keep (fun lane -> gone[keyOf lane.Target] <- lane) before targets
            updated.Add(struct (host, targets, now))

        for struct (host, targets, now) in updated do
            for index in 0 .. now.Length - 1 do
                if isNull (box now[index]) then
                    now[index] <- take gone targets[index]

            hosts <-
                if now.Length > 0 then
                    hosts.Set(host, HostEntry(now, shareOf (hosts.TryGet host)))
                else
                    hosts.Remove host

        {
            Hosts = hosts
            Gone = List.ofSeq gone.Values
        }
