namespace K8sReq.Journal

open System
open System.Threading
open System.Threading.Tasks

/// Work that is done again and again, each time after this interval, and never twice at once: where it takes longer, a time is
/// left out. Ended by its disposal; work under way goes on.
[<Sealed>]
type PeriodicWork(clock: TimeProvider, interval: TimeSpan, work: unit -> Task) =
    let mutable isRunning = 0

    let onTime (_: obj | null) =
        if Interlocked.Exchange(&isRunning, 1) = 0 then
            task {
                try
                    do! work ()
                finally
                    Volatile.Write(&isRunning, 0)
            }
            |> ignore

    let timer = clock.CreateTimer(TimerCallback onTime, null, interval, interval)

    interface IDisposable with
        member _.Dispose() = timer.Dispose()
