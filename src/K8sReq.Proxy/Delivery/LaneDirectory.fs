namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Net
open K8sReq.Core

/// The lanes of the routing table in force, by host. One writer, any number of readers, no lock.
[<Sealed>]
type LaneDirectory(createLane: Target -> Lane) =
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

    let index = HostIndex<Lane[]>()
    let lanes = Dictionary<HostName, Lane[]>()
    let shares = Dictionary<HostName, BudgetShare>()

    // Before the lanes of a host are found by it.
    let share host (ofHost: Lane[]) =
        let share =
            match shares.TryGetValue host with
            | true, known -> known
            | false, _ ->
                let made = BudgetShare.ofHost ()
                shares[host] <- made
                made

        for lane in ofHost do
            lane.Share <- share

    /// The lanes of a host in any of its spellings; empty if there are none. Read it only.
    member _.Find(host: string) : Lane[] =
        index.TryFind host |> ValueOption.defaultValue [||]

    /// Puts the targets of these hosts in force, those of each host at once. A target that was routed before keeps its
    /// lane; the lanes of those that are routed no more are retired after that, so that whoever meets one finds what
    /// takes its place here.
    member _.Update(routes: Map<HostName, Target[]>, changed: Set<HostName>) : unit =
        // By what the lanes lead to: a RequestClone may have moved from one host to another.
        let gone = Dictionary<struct (ObjectKey * IPAddress * int), Lane>()
        let updated = ResizeArray<struct (HostName * Target[] * Lane[])>()

        for host in changed do
            let before =
                match lanes.TryGetValue host with
                | true, lanes -> lanes
                | false, _ -> [||]

            let targets = routes.TryFind host |> Option.defaultValue [||]
            let now = keep (fun lane -> gone[keyOf lane.Target] <- lane) before targets
            updated.Add(struct (host, targets, now))

        for struct (host, targets, now) in updated do
            for index in 0 .. now.Length - 1 do
                if isNull (box now[index]) then
                    now[index] <- take gone targets[index]

            if now.Length > 0 then
                share host now
                lanes[host] <- now
                index.Set(host, now)
            else
                lanes.Remove host |> ignore
                shares.Remove host |> ignore
                index.Remove host

        for lane in gone.Values do
            lane.Retire()
