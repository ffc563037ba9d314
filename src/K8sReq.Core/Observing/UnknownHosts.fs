namespace K8sReq.Core

open System

/// A host that requests came for and that has no target.
type UnknownHost = {
    Host: string
    /// Since it is listed.
    Requests: int64
    FirstSeen: DateTimeOffset
    LastSeen: DateTimeOffset
}

/// The hosts without a target that requests came for lately: so many and no more, however many there are, for anybody can
/// send any name.
type UnknownHosts = private {
    /// By the host.
    Listed: Map<string, UnknownHost>
    OfOthers: int64
} with

    /// The latest first.
    member hosts.Hosts: UnknownHost list =
        hosts.Listed.Values |> Seq.sortByDescending _.LastSeen |> List.ofSeq

    /// Requests for hosts that are not listed any more.
    member hosts.Others = hosts.OfOthers

module UnknownHosts =
    /// How many are listed.
    let limit = 100

    // No host name is longer. What is cut off is no name, and may be as long as all headers.
    let private longest = 255

    // A host that nobody has asked for that long goes first, however often it was asked for before.
    let private memory = TimeSpan.FromHours 1.0

    let empty = { Listed = Map.empty; OfOthers = 0L }

    // A flood of names that come once must not push out the one that comes again and again.
    let private leastOf (now: DateTimeOffset) (listed: Map<string, UnknownHost>) : UnknownHost =
        listed.Values
        |> Seq.minBy (fun host ->
            let isOld = now - host.LastSeen >= memory
            struct ((if isOld then 0L else host.Requests), host.LastSeen))

    /// A request came for this host: whether it is new to the list.
    let note (now: DateTimeOffset) (host: string) (hosts: UnknownHosts) : struct (UnknownHosts * bool) =
        let name = host.Substring(0, min host.Length longest)

        match hosts.Listed.TryFind name with
        | Some known ->
            let known = {
                known with
                    Requests = known.Requests + 1L
                    LastSeen = now
            }

            struct ({
                        hosts with
                            Listed = hosts.Listed.Add(name, known)
                    },
                    false)
        | None ->
            let hosts =
                if hosts.Listed.Count < limit then
                    hosts
                else
                    let least = leastOf now hosts.Listed

                    {
                        Listed = hosts.Listed.Remove least.Host
                        OfOthers = hosts.OfOthers + least.Requests
                    }

            let entry = {
                Host = name
                Requests = 1L
                FirstSeen = now
                LastSeen = now
            }

            struct ({
                        hosts with
                            Listed = hosts.Listed.Add(name, entry)
                    },
                    true)
