namespace K8sReq.Journal

open System
open System.Threading.Tasks

/// Removes dead letters that have been kept long enough, once a minute: a few at a time, so that what comes in does not wait.
[<Sealed>]
type DeadLetterPruning(clock: TimeProvider, store: JournalStore) =
    let interval = TimeSpan.FromMinutes 1.0
    let atOnce = 100

    let rec prune () : Task = task {
        let! pruned = store.PruneDeadLetters atOnce

        if pruned = Some atOnce then
            do! prune ()
    }

    let look () : Task =
        if store.Letters.Kept.IsEmpty then
            Task.CompletedTask
        else
            prune ()

    let work = new PeriodicWork(clock, interval, look)

    interface IDisposable with
        member _.Dispose() = (work :> IDisposable).Dispose()
