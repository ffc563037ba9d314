namespace K8sReq.Proxy

open System
open System.Threading
open K8sReq.Core

/// How many copies ended in one slot of time.
[<Struct>]
type HistoryPoint = {
    Delivered: int64
    /// Failed, expired or dropped.
    Lost: int64
}

/// What became of one RequestClone's copies in the last minutes, in slots of time, and how long deliveries took. Any
/// thread records; one closes the slots; any thread reads. Takes 1.5 KB, so it is made for those only that have copies.
[<Sealed>]
type CopyHistory() =
    // Two windows of durations, each of half the slots: what is read is of both, the last two and a half to five minutes.
    let mutable current: int64[] = Array.zeroCreate DurationBuckets.classes
    let mutable previous: int64[] = Array.zeroCreate DurationBuckets.classes
    let points = Array.zeroCreate<HistoryPoint> CopyHistory.Slots
    let mutable closed = 0L
    let mutable seen = { Delivered = 0L; Lost = 0L }
    let mutable filled = 0
    let mutable version = 0L

    /// How many slots are remembered.
    static member Slots = 30

    /// What one lasts.
    static member SlotLength = TimeSpan.FromSeconds 10.0

    /// A copy was delivered, so long after it was accepted.
    member _.Record(duration: TimeSpan) : unit =
        Interlocked.Increment(&(Volatile.Read &current)[DurationBuckets.classOf duration])
        |> ignore

    /// Ends a slot, with what the totals are now. To be called by one thread, once for each length of time.
    member _.Close(totals: CopyTotals) : unit =
        let now = {
            Delivered = totals.Delivered
            Lost = totals.Failed + totals.Dropped + totals.Expired
        }

        let point = {
            Delivered = now.Delivered - seen.Delivered
            Lost = now.Lost - seen.Lost
        }

        seen <- now
        let slot = int (closed % int64 CopyHistory.Slots)
        let isEmpty (point: HistoryPoint) = point.Delivered = 0L && point.Lost = 0L

        filled <-
            filled + (if isEmpty point then 0 else 1)
            - (if isEmpty points[slot] then 0 else 1)

        // A line that was flat and stays flat looks the same.
        if filled > 0 || not (isEmpty points[slot]) then
            Interlocked.Increment &version |> ignore

        points[slot] <- point
        closed <- closed + 1L

        if closed % (int64 CopyHistory.Slots / 2L) = 0L then
            Volatile.Write(&previous, current)
            Volatile.Write(&current, Array.zeroCreate DurationBuckets.classes)

    /// Another number whenever the slots look otherwise.
    member _.Version = Volatile.Read &version

    /// The slots, the oldest first; the last one is the one that is open, as it is with these totals.
    member _.Points(totals: CopyTotals) : HistoryPoint[] =
        let first = int (closed % int64 CopyHistory.Slots)
        let before = seen

        Array.init CopyHistory.Slots (fun index ->
            if index < CopyHistory.Slots - 1 then
                points[(first + 1 + index) % CopyHistory.Slots]
            else
                {
                    Delivered = totals.Delivered - before.Delivered
                    Lost = totals.Failed + totals.Dropped + totals.Expired - before.Lost
                })

    /// Whether anything was lost in the time that is remembered, until these totals.
    member _.HasLost(totals: CopyTotals) : bool =
        totals.Failed + totals.Dropped + totals.Expired > seen.Lost
        || points |> Array.exists (fun point -> point.Lost > 0L)

    /// How many deliveries of the last minutes were in each class of `DurationBuckets`.
    member _.Durations: int64[] =
        Array.map2 (+) (Volatile.Read &current) (Volatile.Read &previous)
