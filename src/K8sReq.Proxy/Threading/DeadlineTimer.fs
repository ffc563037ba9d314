namespace K8sReq.Proxy

open System
open System.Threading

/// Tells when a deadline has come that moves all the time, mostly to later. It may tell early: who is told looks at the clock, and
/// calls `Set` again. Not for more than one thread at a time, but for `onTime`, which is called on any thread.
[<Sealed>]
type DeadlineTimer(clock: TimeProvider) =
    let mutable timer: ITimer | null = null
    // What it is set to: it is set again for an earlier time alone, as most deadlines move on long before they come.
    let mutable endsAt = Int64.MaxValue

    let left () =
        TimerTime.atLeast (TimeSpan(endsAt - (clock.GetElapsedTime 0L).Ticks))

    /// Begins, with a deadline in ticks on the clock. To be called once, before `Set`.
    member _.Start(deadline: int64, onTime: unit -> unit) : unit =
        // The context of who happens to begin is not to live as long as the timer.
        use _ = ExecutionContext.SuppressFlow()
        endsAt <- deadline

        timer <- clock.CreateTimer(TimerCallback(fun _ -> onTime ()), null, left (), Timeout.InfiniteTimeSpan)

    /// The deadline is this now; `Int64.MaxValue` for none.
    member _.Set(deadline: int64) : unit =
        if deadline < endsAt then
            match timer with
            | null -> ()
            | timer ->
                endsAt <- deadline
                timer.Change(left (), Timeout.InfiniteTimeSpan) |> ignore

    /// To be called once it has told: it tells no more until `Set`.
    member _.HasTold() : unit = endsAt <- Int64.MaxValue

    /// Tells no more.
    member _.Stop() : unit =
        match timer with
        | null -> ()
        | timer -> timer.Dispose()
