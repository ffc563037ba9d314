namespace K8sReq.Journal.Sqlite

open System
open System.Collections.Generic
open System.Diagnostics
open K8sReq.Core

/// Brings the ends of a request's copies together: most often all of them end within a moment, and then the request is removed
/// as a whole, which costs a fraction of removing one copy after the other. Those of the others are written by themselves, after
/// that moment. The journal's thread's own.
[<Sealed>]
type PartialEnds(longest: TimeSpan) =
    let ends = Dictionary<int64, struct (int64 * JournalWork list)>()

    let entryOf (work: JournalWork) =
        match work with
        | JournalWork.Ended(_, clone, bytes, _) -> clone, bytes
        | _ -> invalidOp "Only ends are brought together."

    // As if it had come alone.
    let alone (work: JournalWork) =
        match work with
        | JournalWork.Ended(id, clone, bytes, _) -> JournalWork.Ended(id, clone, bytes, 0)
        | work -> work

    let add (settled: ResizeArray<JournalWork>) (work: JournalWork) (request: int64) (all: int) =
        let struct (since, before) =
            match ends.TryGetValue request with
            | true, known -> known
            | false, _ -> struct (Stopwatch.GetTimestamp(), [])

        if before.Length + 1 = all then
            ends.Remove request |> ignore
            settled.Add(JournalWork.EndedWhole(request, entryOf work :: List.map entryOf before))
        else
            ends[request] <- struct (since, work :: before)

    let flush (settled: ResizeArray<JournalWork>) (isLast: bool) =
        if ends.Count > 0 then
            for KeyValue(request, struct (since, works)) in Array.ofSeq ends do
                if isLast || Stopwatch.GetElapsedTime since >= longest then
                    ends.Remove request |> ignore

                    for work in works do
                        settled.Add(alone work)

    /// Whether there is anything that is still to be written.
    member _.IsEmpty = ends.Count = 0

    /// The batch as it is to be written, with what has waited for long enough; with all of it at last.
    member _.Settle(batch: ResizeArray<JournalWork>, isLast: bool) : ResizeArray<JournalWork> =
        let settled = ResizeArray<JournalWork>(batch.Count)

        for work in batch do
            match work with
            | JournalWork.Ended(id, _, _, all) when all > 0 -> add settled work id.Request all
            | work -> settled.Add work

        flush settled isLast
        settled
