namespace K8sReq.Journal

open System
open K8sReq.Core
open K8sReq.Proxy

/// Does work on an open journal, whatever keeps it. The journal's thread's own.
[<Sealed>]
type OpenJournal(journal: IOpenJournal, suspects: Suspects) =
    let rows = journal.Rows

    let packing =
        RequestPacking(rows.NumberOf, (fun id pack -> rows.InsertPack(id, pack)))

    let insert (row: RequestRow) (durable: DurableCopy[]) =
        rows.InsertRequest row

        for copy in durable do
            rows.InsertCopy(row, copy, rows.NumberOf copy.Clone)

    let append (accepted: AcceptedRequest) (at: DateTimeOffset) : JournalResult =
        rows.Reserve accepted.Number
        let row = RequestRow.ofAccepted accepted at

        match accepted.Durable with
        | null ->
            insert row [||]
            JournalResult.Nothing
        | durable ->
            match packing.TryAdd(row, durable) with
            | ValueSome pack -> JournalResult.Packed pack
            | ValueNone ->
                insert row durable
                JournalResult.Nothing

    let cleared (id: CopyId) : JournalResult =
        if suspects.Remove id then
            JournalResult.Cleared
        else
            JournalResult.Nothing

    /// The journal itself, for all that is no work.
    member _.Journal = journal

    /// Does what the work says, within the transaction that has begun. An upkeep is not done here.
    member _.Run(work: JournalWork) : JournalResult =
        match work with
        | JournalWork.Append(request, at, _) -> append request at
        | JournalWork.Attempted(id, _, attempts, _) ->
            rows.SetAttempts(id, attempts)
            cleared id
        | JournalWork.Shelved copy ->
            rows.Shelve copy
            cleared copy.Id
        | JournalWork.Ended copy ->
            rows.DeleteCopy copy.Id
            cleared copy.Id
        | JournalWork.EndedPacked copy ->
            rows.SetEnded copy.Id
            JournalResult.Nothing
        | JournalWork.EndedPack pack ->
            rows.DeletePack pack
            JournalResult.Nothing
        | JournalWork.Unpack pack ->
            rows.Unpack pack
            JournalResult.Nothing
        | JournalWork.Died entry ->
            let isCleared = suspects.Remove entry.Id
            JournalResult.PushedOut(rows.AddLetter entry, isCleared)
        | JournalWork.Letters(run, _, _) ->
            run rows.Letters
            JournalResult.Nothing
        | JournalWork.Drop(clone, _) ->
            match rows.TryNumberOf clone with
            | ValueNone -> JournalResult.Dropped(0, 0L, ValueNone)
            | ValueSome number ->
                let struct (copies, bytes) = rows.Drop number
                JournalResult.Dropped(copies, bytes, rows.RestOf number)
        | JournalWork.Take(clone, most, mostBytes, now, _) ->
            match rows.TryNumberOf clone with
            | ValueNone -> JournalResult.Taken([], ValueNone)
            | ValueSome number ->
                let taken = rows.Take(clone, number, most, mostBytes, now)
                JournalResult.Taken(taken, rows.RestOf number)
        | JournalWork.Upkeep -> JournalResult.Nothing

    /// Ends the transaction. What it has done is kept then.
    member _.Commit() : unit =
        packing.Finish()
        journal.Commit()

    interface IDisposable with
        member _.Dispose() = journal.Dispose()
