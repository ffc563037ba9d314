/// The wait for accepted copies at the end of the process.
module K8sReq.Host.Commands.Drain

open System
open System.Threading
open System.Threading.Tasks

// Copies with a journal that are on their way get so long to end: after that they are kept, and sent again after the next start.
let private longestForDurable = TimeSpan.FromSeconds 2.0
let private interval = TimeSpan.FromMilliseconds 100.0

/// Waits for the copies in memory until `shutdown`, or until nothing that is left could be lost. Whether all have ended.
let run (clock: TimeProvider) (plane: DataPlane) (shutdown: CancellationToken) : Task<bool> = task {
    let began = clock.GetTimestamp()
    let idle = plane.Accounts.WhenIdle()

    let mayLeave () =
        clock.GetElapsedTime began >= longestForDurable && plane.HasOnlyDurable

    while not (idle.IsCompleted || shutdown.IsCancellationRequested || mayLeave ()) do
        let! _ = Task.WhenAny(idle, Task.Delay(interval, clock, shutdown))
        ()

    return idle.IsCompleted
}
