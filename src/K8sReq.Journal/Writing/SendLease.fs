namespace K8sReq.Journal

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Proxy

/// Until when copies in memory may be sent, where others take them over from a process that is not heard of for a while. A
/// process whose time is over does not know whether they have: it sends nothing until it has asked. An epoch is a number for
/// the time from one takeover to the next: what was put into memory in an earlier one is another's. From any thread.
[<Sealed>]
type SendLease(clock: TimeProvider, length: TimeSpan) =
    // Guards everything below.
    let gate = Lock()
    let mutable epoch = 0L
    // The monotonic clock stands still while some systems sleep, the other one may be set: it is over when either says so.
    let mutable since = 0L
    let mutable sinceUtc = DateTimeOffset.MinValue

    let mutable changed =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    let isOver () =
        clock.GetElapsedTime since >= length || clock.GetUtcNow() - sinceUtc >= length

    // Under the gate: who waits looks again.
    let tell () =
        let told = changed
        changed <- TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
        told.TrySetResult() |> ignore

    // True or false, or what to wait for before it is asked again.
    let look (asking: int64) : struct (bool * Task | null) =
        exclusively gate (fun () ->
            if asking <> epoch then struct (false, null)
            elif isOver () then struct (false, changed.Task)
            else struct (true, null))

    let rec wait (asking: int64) (first: Task) (stop: CancellationToken) : Task<bool> = task {
        do! first.WaitAsync stop

        match look asking with
        | struct (answer, null) -> return answer
        | struct (_, next) -> return! wait asking next stop
    }

    /// It is another's epoch, or goes on: what was asked for at this time (both clocks) was granted.
    member _.Renew(current: int64, asked: int64, askedUtc: DateTimeOffset) : unit =
        exclusively gate (fun () ->
            epoch <- current
            since <- asked
            sinceUtc <- askedUtc
            tell ())

    /// Whether what was put into memory in this epoch may be sent now. Where that is not known it waits until it is; cancelled
    /// by `stop`.
    member _.MaySend(asking: int64, stop: CancellationToken) : ValueTask<bool> =
        match look asking with
        | struct (answer, null) -> ValueTask<bool> answer
        | struct (_, first) -> ValueTask<bool>(wait asking first stop)
