namespace K8sReq.Journal.Postgres

open System
open System.Collections.Generic

/// Replicas that have gone, and whose takeover has failed: it is tried again after a while, and stands in the way of nothing else.
[<Sealed>]
type SetAside(clock: TimeProvider) =
    let time = TimeSpan.FromMinutes 1.0
    let since = Dictionary<int64, int64>()

    member _.Add(replica: int64) : unit = since[replica] <- clock.GetTimestamp()

    member _.Now: int64[] = [|
        for KeyValue(replica, at) in since do
            if clock.GetElapsedTime at < time then
                replica
    |]
