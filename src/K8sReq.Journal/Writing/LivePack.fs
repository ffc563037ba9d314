namespace K8sReq.Journal

open System
open System.Collections.Generic
open K8sReq.Core

/// A copy that has ended.
[<Struct>]
type EndedCopy = {
    Id: CopyId
    Clone: ObjectKey
    Bytes: int64
    /// See `SendLease`.
    Epoch: int64
}

/// A pack in the file of which copies are in memory.
[<Sealed>]
type LivePack(id: int64, clock: TimeProvider) =
    let since = clock.GetTimestamp()
    let requests = List<int64>()
    let ended = List<EndedCopy>()
    let mutable left = 0
    let mutable firstEnd = 0L
    let mutable hasWrittenEnds = false

    member _.Id = id
    member _.Age = clock.GetElapsedTime since
    /// The numbers of its requests.
    member _.Requests: IReadOnlyList<int64> = requests
    /// What has ended, and nothing in the file says so.
    member _.Ended: IReadOnlyList<EndedCopy> = ended
    /// Whether copies of it have ended of which that is in the file.
    member _.HasWrittenEnds = hasWrittenEnds
    /// Whether all its copies have ended.
    member _.IsOver = left = 0

    /// Since the first of them has ended; zero if there is none.
    member _.UnwrittenFor =
        if ended.Count = 0 then
            TimeSpan.Zero
        else
            clock.GetElapsedTime firstEnd

    member _.Add(request: int64, copies: int) : unit =
        requests.Add request
        left <- left + copies

    member _.End(copy: EndedCopy) : unit =
        if ended.Count = 0 then
            firstEnd <- clock.GetTimestamp()

        ended.Add copy
        left <- left - 1

    /// What has ended is in the file, or about to be.
    member _.TakeEnded() : EndedCopy list =
        hasWrittenEnds <- true
        let all = List.ofSeq ended
        ended.Clear()
        all
