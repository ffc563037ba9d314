namespace K8sReq.Proxy

open System.Threading
open K8sReq.Core

/// `CopyTotals` that any thread adds to, without a lock: nothing that counts a copy ever waits for another thread.
[<Sealed>]
type CopyCounts() =
    // Mutable numbers in one object: a fact is one addition to memory that is beside that of the others. With an immutable record under
    // a lock, or an object for each number, it took twice the time (bench/NOTES.md, "What counting costs").
    let mutable accepted = 0L
    let mutable recovered = 0L
    let mutable replayed = 0L
    let mutable delivered = 0L
    let mutable failed = 0L
    let mutable dropped = 0L
    let mutable expired = 0L
    let mutable takenOver = 0L
    let mutable retries = 0L

    member _.Accept(copies: int64) : unit =
        Interlocked.Add(&accepted, copies) |> ignore

    member _.Recover(copies: int64) : unit =
        Interlocked.Add(&recovered, copies) |> ignore

    member _.Replay(copies: int64) : unit =
        Interlocked.Add(&replayed, copies) |> ignore

    member _.Fail(copies: int64) : unit =
        Interlocked.Add(&failed, copies) |> ignore

    member _.Drop(copies: int64) : unit =
        Interlocked.Add(&dropped, copies) |> ignore

    member _.TakeOver(copies: int64) : unit =
        Interlocked.Add(&takenOver, copies) |> ignore

    member _.Retry() : unit =
        Interlocked.Increment &retries |> ignore

    /// A copy that was accepted before has ended so.
    member _.End(outcome: TargetOutcome) : unit =
        if TargetOutcome.isDelivered outcome then
            Interlocked.Increment &delivered |> ignore
        elif TargetOutcome.isDropped outcome then
            Interlocked.Increment &dropped |> ignore
        elif TargetOutcome.isExpired outcome then
            Interlocked.Increment &expired |> ignore
        elif TargetOutcome.isTakenOver outcome then
            Interlocked.Increment &takenOver |> ignore
        else
            Interlocked.Increment &failed |> ignore

    /// As they are now. Read one after the other, the ends before what was accepted: a copy whose end is counted here is counted
    /// as accepted too, so that what is pending is never less than nothing. One that was accepted or ended meanwhile may be pending still.
    member _.Totals: CopyTotals =
        let delivered = Volatile.Read &delivered
        let failed = Volatile.Read &failed
        let dropped = Volatile.Read &dropped
        let expired = Volatile.Read &expired
        let takenOver = Volatile.Read &takenOver
        let retries = Volatile.Read &retries

        {
            Accepted = Volatile.Read &accepted
            Recovered = Volatile.Read &recovered
            Replayed = Volatile.Read &replayed
            Delivered = delivered
            Failed = failed
            Dropped = dropped
            Expired = expired
            TakenOver = takenOver
            Retries = retries
        }
