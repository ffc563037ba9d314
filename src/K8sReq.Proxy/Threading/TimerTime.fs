module K8sReq.Proxy.TimerTime

open System

// Timers take no longer times than 49 days.
let private longest = TimeSpan.FromDays 7.0

/// What to set a timer to so that it does not end before this time has passed, give or take what its clock is coarser: timers leave
/// out parts of milliseconds. One that is set to 0.9 ms ends at once, and who sets it again for the rest does so many times until
/// that has passed. Seven days at the most.
let atLeast (time: TimeSpan) : TimeSpan =
    let ticks = min longest.Ticks (max 0L time.Ticks)

    TimeSpan(
        (ticks + TimeSpan.TicksPerMillisecond - 1L) / TimeSpan.TicksPerMillisecond
        * TimeSpan.TicksPerMillisecond
    )
