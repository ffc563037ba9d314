namespace K8sReq.Journal

open System.Collections.Generic
open K8sReq.Core
open K8sReq.Proxy

/// What is known, and told, once work is on disk: who waits, what the journal holds, which packs have copies in memory. The
/// journal's thread's own.
[<Sealed>]
type CommittedWork(usage: JournalUsage, letters: DeadLetterUsage, live: LivePacks, events: JournalEvents) =
    // Who waits for the commit.
    let kept = KeptRequests()

    let pushedOut (removed: RemovedLetter list) =
        for letter in removed do
            letters.Lost(letter.Clone, letter.Bytes, DeadLetterLoss.Full)

    let cleared (clone: ObjectKey) (result: JournalResult) =
        if result.IsCleared then
            events.Arrived clone

    let adopted (upkeep: JournalUpkeep) =
        for clone, copies in upkeep.Adopted do
            usage.Found(clone, copies)

        Option.iter letters.FoundAll upkeep.Letters
        Option.iter events.Replicas upkeep.Replicas

        for clone in upkeep.Unsent do
            letters.AddUnsent clone

        if not (upkeep.Adopted.IsEmpty && upkeep.Poisonous.IsEmpty) then
            events.Adopted upkeep

        for clone, _ in upkeep.Adopted do
            events.Arrived clone

    // What is known once it is on disk.
    let committed (epoch: int64) (work: JournalWork) (result: JournalResult) =
        match work, result with
        | JournalWork.Shelved copy, JournalResult.Stale ->
            usage.Release(copy.Clone, copy.Bytes)
            events.TakenOver copy.Clone 1L
        | JournalWork.Died entry, JournalResult.Stale -> usage.Release(entry.Clone, entry.Bytes)
        | JournalWork.Append(request, at, waiting), _ ->
            match request.Durable, result with
            | null, _ -> ()
            | durable, JournalResult.Packed pack -> live.Add(pack, request.Number, durable.Length)
            | durable, _ ->
                for copy in durable do
                    if copy.IsSpilled then
                        usage.Shelve(copy.Clone, request.Bytes, at, at)

            request.Epoch <- epoch
            kept.Add(request, waiting)
        | JournalWork.Take(clone, _, _, _, taken), JournalResult.Taken(copies, rest) ->
            let bytes = copies |> List.sumBy _.Bytes
            usage.Take(clone, int64 copies.Length, bytes, rest)

            taken.TrySetResult [ for copy in copies -> { copy with Epoch = epoch } ]
            |> ignore
        | JournalWork.Drop(clone, dropped), JournalResult.Dropped(copies, bytes, rest) ->
            usage.Take(clone, int64 copies, bytes, rest)
            usage.Release(clone, bytes)
            dropped.TrySetResult copies |> ignore
        | JournalWork.Shelved copy, _ ->
            usage.Shelve(copy.Clone, copy.Bytes, copy.Accepted, copy.Due)
            events.Arrived copy.Clone
        | JournalWork.Upkeep, JournalResult.Kept upkeep -> adopted upkeep
        | JournalWork.Died entry, JournalResult.PushedOut(removed, isCleared) ->
            usage.Release(entry.Clone, entry.Bytes)
            letters.Added(entry.Clone, entry.Bytes, entry.Cause)

            if entry.IsForSink then
                letters.AddUnsent entry.Clone

            pushedOut removed

            if isCleared then
                events.Arrived entry.Clone
        | JournalWork.Letters(_, committed, _), _ -> committed ()
        | (JournalWork.Ended copy | JournalWork.EndedPacked copy), _ ->
            usage.Release(copy.Clone, copy.Bytes)
            cleared copy.Clone result
        | JournalWork.Attempted(_, clone, _, _), _ -> cleared clone result
        | JournalWork.EndedPack pack, _ ->
            for copy in pack.Ended do
                usage.Release(copy.Clone, copy.Bytes)
        | (JournalWork.Take _ | JournalWork.Drop _ | JournalWork.Died _ | JournalWork.Attempted _ | JournalWork.Unpack _ | JournalWork.Upkeep),
          _ -> ()

    /// Tells of all of a batch, whose requests are of this epoch from now on; and whether there is more of an upkeep to do.
    member _.Tell(epoch: int64, batch: List<JournalWork>, results: JournalResult[]) : bool =
        for index in 0 .. batch.Count - 1 do
            committed epoch batch[index] results[index]

        kept.Tell()

        results
        |> Array.exists (fun result ->
            match result with
            | JournalResult.Kept upkeep -> upkeep.IsMore
            | _ -> false)
