namespace K8sReq.Journal

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Journal.Sqlite

/// Removes dead letters that have been kept long enough, once a minute: a few at a time, so that what comes in does not wait.
[<Sealed>]
type DeadLetterPruning(clock: TimeProvider, store: SqliteStore) =
    let interval = TimeSpan.FromMinutes 1.0
    let atOnce = 100
    let mutable isRunning = 0

    let rec prune () : Task = task {
        let! pruned = store.PruneDeadLetters atOnce

        if pruned = Some atOnce then
            do! prune ()
    }

    let onTime (_: obj | null) =
        if not store.Letters.Kept.IsEmpty && Interlocked.Exchange(&isRunning, 1) = 0 then
            task {
                try
                    do! prune ()
                finally
                    Volatile.Write(&isRunning, 0)
            }
            |> ignore

    let timer = clock.CreateTimer(TimerCallback onTime, null, interval, interval)

    interface IDisposable with
        member _.Dispose() = timer.Dispose()
