namespace K8sReq.Journal

open System
open System.Collections.Generic
open System.Threading.Tasks
open K8sReq.Core

/// Gives up what waits in the journal for RequestClones that are gone, once they have been gone for so long: an object that
/// is deleted and applied again, under its name, gets its copies.
[<Sealed>]
type JournalOrphans
    (
        clock: TimeProvider,
        keep: TimeSpan,
        store: JournalStore,
        // Whether nothing is routed for a RequestClone; false as long as that is not known.
        isOrphan: ObjectKey -> bool,
        // Told of so many copies that were given up.
        dropped: ObjectKey -> int64 -> unit
    ) =
    // Often enough for the time to be kept within a tenth.
    let interval =
        max (TimeSpan.FromSeconds 1.0) (min (TimeSpan.FromMinutes 1.0) (keep / 10.0))

    // Since when each has been gone. The work's own: it runs once at a time.
    let gone = Dictionary<ObjectKey, int64>()

    let rec drop (clone: ObjectKey) : Task = task {
        let! copies = store.Drop clone

        if copies > 0 then
            dropped clone (int64 copies)
            do! drop clone
    }

    let look () : Task = task {
        let waiting = store.Usage.Waiting |> List.map fst

        for clone in List.ofSeq gone.Keys do
            if not (List.contains clone waiting && isOrphan clone) then
                gone.Remove clone |> ignore

        for clone in waiting do
            if isOrphan clone then
                match gone.TryGetValue clone with
                | false, _ -> gone[clone] <- clock.GetTimestamp()
                | true, since when clock.GetElapsedTime since >= keep ->
                    gone.Remove clone |> ignore
                    do! drop clone
                | true, _ -> ()
    }

    let work = new PeriodicWork(clock, interval, look)

    interface IDisposable with
        member _.Dispose() = (work :> IDisposable).Dispose()
