namespace K8sReq.Journal

open System
open System.Threading

/// The time that is written into the journal. It begins with the clock's, or with the last that the file has seen if that is
/// later, and then goes on evenly: a clock that is set delays nothing that waits, and lets nothing expire early.
[<Sealed>]
type JournalClock(clock: TimeProvider) =
    let created = clock.GetTimestamp()
    let mutable start = clock.GetUtcNow().UtcTicks

    /// No earlier than this time, which the file has seen.
    member _.GoOnFrom(last: DateTimeOffset) : unit =
        let elapsed = (clock.GetElapsedTime created).Ticks
        Volatile.Write(&start, max start (last.UtcTicks - elapsed))

    /// This time, which counts for all that use the same journal.
    member _.Set(now: DateTimeOffset) : unit =
        Volatile.Write(&start, now.UtcTicks - (clock.GetElapsedTime created).Ticks)

    member _.Now: DateTimeOffset =
        DateTimeOffset(Volatile.Read &start + (clock.GetElapsedTime created).Ticks, TimeSpan.Zero)
