namespace K8sReq.Core

open System

/// So many events a second, one after the other: each is given the time at which it may happen. A pause is not made up for
/// by more than `burst` at once.
[<Struct>]
type Pace = {
    /// When the next one could be if they came evenly, on a clock that only grows.
    Next: TimeSpan
}

module Pace =
    let fresh = { Next = TimeSpan.Zero }

    /// The wait of one more event, zero if it may happen at once. Events that wait hold their place in the row.
    let take (perSecond: int) (burst: int) (now: TimeSpan) (pace: Pace) : struct (Pace * TimeSpan) =
        let interval = TimeSpan.FromSeconds 1.0 / float perSecond
        let earliest = max pace.Next (now - interval * float burst)
        let next = earliest + interval
        struct ({ Next = next }, max TimeSpan.Zero (next - now))
