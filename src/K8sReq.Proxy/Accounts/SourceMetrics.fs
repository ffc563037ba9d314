namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Threading

/// What a source of routes tells of itself. From any thread.
[<Sealed>]
type SourceMetrics(clock: TimeProvider) =
    let synced = ConcurrentDictionary<string, DateTimeOffset>()
    let restarts = ByLabel<string, Counter>(fun () -> Counter())
    let writes = ByLabel<string, Counter>(fun () -> Counter())
    let mutable isLeading = false
    let mutable leader = ""

    /// What is listed or watched under this name was just seen as it is.
    member _.Synced(name: string) : unit = synced[name] <- clock.GetUtcNow()

    /// The time for which all of the routes are known to be what the source has; None before the first.
    member _.LastSync: DateTimeOffset option =
        match Array.ofSeq synced.Values with
        | [||] -> None
        | times -> Some(Array.min times)

    /// A watch ended and begins again, for one of a few reasons.
    member _.Restarted(reason: string) : unit = restarts.Of(reason).Add 1L
    member _.Restarts = restarts.All

    /// A status was written, or not: one of a few words.
    member _.Wrote(result: string) : unit = writes.Of(result).Add 1L
    member _.Writes = writes.All

    /// Whether this replica is the one that writes statuses.
    member _.IsLeading
        with get () = Volatile.Read &isLeading
        and set (leads: bool) = Volatile.Write(&isLeading, leads)

    /// The replica that writes statuses, as far as is known; empty for nobody.
    member _.Leader
        with get () = Volatile.Read &leader
        and set (name: string) = Volatile.Write(&leader, name)
