namespace K8sReq.Journal

open System
open System.Collections.Generic
open K8sReq.Core

/// The packs whose copies are in memory, and how each leaves the file: most often all its copies end within a moment, and it is
/// removed as a whole, which costs a fraction of removing one copy after the other. One whose copies take longer, or of which
/// one is to be changed, is made rows of. The journal's thread's own.
[<Sealed>]
type LivePacks(clock: TimeProvider) =
    // What has ended is written after so long, whatever the rest of its pack does: those are sent twice after a crash.
    let longestUnwritten = TimeSpan.FromMilliseconds 20.0
    // One copy that takes long must not keep the room of all the others.
    let longestPacked = TimeSpan.FromSeconds 2.0
    // They are looked through no more often.
    let lookInterval = TimeSpan.FromMilliseconds 10.0

    let packs = HashSet<LivePack>(HashIdentity.Reference)
    let packOf = Dictionary<int64, LivePack>()
    let mutable lookedAt = 0L

    let remove (pack: LivePack) =
        packs.Remove pack |> ignore

        for request in pack.Requests do
            packOf.Remove request |> ignore

    let unpack (settled: List<JournalWork>) (pack: LivePack) =
        remove pack
        settled.Add(JournalWork.Unpack pack.Id)

        for copy in pack.TakeEnded() do
            settled.Add(JournalWork.Ended copy)

    let writeEnds (settled: List<JournalWork>) (pack: LivePack) =
        for copy in pack.TakeEnded() do
            settled.Add(JournalWork.EndedPacked copy)

    let unpackOf (settled: List<JournalWork>) (id: CopyId) =
        match packOf.TryGetValue id.Request with
        | true, pack -> unpack settled pack
        | false, _ -> ()

    let settleOne (settled: List<JournalWork>) (work: JournalWork) =
        match work with
        | JournalWork.Ended copy ->
            match packOf.TryGetValue copy.Id.Request with
            | true, pack ->
                pack.End copy

                if pack.IsOver then
                    remove pack
                    settled.Add(JournalWork.EndedPack pack)
            | false, _ -> settled.Add work
        | JournalWork.Attempted(id, _, _, _) ->
            unpackOf settled id
            settled.Add work
        | JournalWork.Shelved copy ->
            unpackOf settled copy.Id
            settled.Add work
        | JournalWork.Died entry ->
            unpackOf settled entry.Id
            settled.Add work
        | JournalWork.Append _
        | JournalWork.EndedPacked _
        | JournalWork.EndedPack _
        | JournalWork.Unpack _
        | JournalWork.Take _
        | JournalWork.Drop _
        | JournalWork.Upkeep
        | JournalWork.Letters _ -> settled.Add work

    let look (settled: List<JournalWork>) (mayUnpack: bool) =
        if packs.Count > 0 && clock.GetElapsedTime lookedAt >= lookInterval then
            lookedAt <- clock.GetTimestamp()

            for pack in Array.ofSeq packs do
                if mayUnpack && pack.Age >= longestPacked then
                    unpack settled pack
                elif pack.UnwrittenFor >= longestUnwritten then
                    writeEnds settled pack

    /// A request is in the file as a part of this pack, and so many copies of it are in memory.
    member _.Add(pack: LivePack, request: int64, copies: int) : unit =
        packs.Add pack |> ignore
        packOf[request] <- pack
        pack.Add(request, copies)

    /// None of them is this process's any more. What has ended of them, one by one.
    member _.Abandon() : EndedCopy list =
        let ended = [
            for pack in packs do
                yield! pack.Ended
        ]

        packs.Clear()
        packOf.Clear()
        ended

    /// After how long there is something to write, whatever comes meanwhile; ValueNone if nothing will.
    member _.Due: TimeSpan voption =
        if packs.Count = 0 then
            ValueNone
        elif packs |> Seq.exists (fun pack -> pack.Ended.Count > 0) then
            ValueSome longestUnwritten
        else
            ValueSome longestPacked

    /// The batch as it is to be written, with what has waited for long enough; with all that has ended at last. `mayUnpack`: not
    /// where there may be no room for it.
    member _.Settle(batch: List<JournalWork>, isLast: bool, mayUnpack: bool) : List<JournalWork> =
        let settled = List<JournalWork> batch.Count

        for work in batch do
            settleOne settled work

        if isLast then
            Seq.iter (writeEnds settled) packs
        else
            look settled mayUnpack

        settled
