namespace K8sReq.Journal

open System.Collections.Generic
open K8sReq.Core

/// Copies in memory that have been there before when a program ended without a word. One of them may be why, so few are there
/// at a time; one that was there at two such ends is there without another: if the program ends once more, it is the one. By
/// RequestClone, which is named by its number in the file. The journal's thread's own.
[<Sealed>]
type Suspects() =
    // Of a RequestClone: what a further end would make suspects that have to be sent one after the other.
    let most = 64
    let cloneOf = Dictionary<CopyId, int64>()
    let held = Dictionary<int64, int>()
    // RequestClones whose one suspect in memory is to be alone.
    let alone = HashSet<int64>()
    // Since the transaction has begun.
    let added = List<CopyId>()

    let heldBy clone =
        match held.TryGetValue clone with
        | true, count -> count
        | false, _ -> 0

    let remove (copy: CopyId) : bool =
        match cloneOf.TryGetValue copy with
        | true, clone ->
            cloneOf.Remove copy |> ignore
            alone.Remove clone |> ignore

            match heldBy clone - 1 with
            | 0 -> held.Remove clone |> ignore
            | left -> held[clone] <- left

            true
        | false, _ -> false

    /// A transaction begins.
    member _.Begin() : unit = added.Clear()

    /// It has failed: what was added in it is in the file still.
    member _.Undo() : unit =
        for copy in added do
            remove copy |> ignore

        added.Clear()

    /// None of what was in memory is this process's any more.
    member _.Clear() : unit =
        cloneOf.Clear()
        held.Clear()
        alone.Clear()
        added.Clear()

    /// The highest suspicion with which a copy may be taken out of the file now.
    member _.Highest(clone: int64) : int64 =
        match heldBy clone with
        | 0 -> System.Int64.MaxValue
        | count when count < most && not (alone.Contains clone) -> 1L
        | _ -> 0L

    /// It is in memory from now on.
    member _.Add(clone: int64, copy: CopyId, suspicion: int64) : unit =
        if suspicion > 0L && cloneOf.TryAdd(copy, clone) then
            added.Add copy
            held[clone] <- heldBy clone + 1

            if suspicion > 1L then
                alone.Add clone |> ignore

    /// It is not a suspect in memory any more: it has outlived an attempt, or it has ended, or is back in the file. Whether it
    /// was one.
    member _.Remove(copy: CopyId) : bool = remove copy
