namespace K8sReq.Proxy

open System
open System.Threading
open K8sReq.Core

/// What became of one RequestClone's copies in the last ten minutes, in slots of time, and how long deliveries took. Any
/// thread records; one closes the slots; any thread reads. Takes 2.2 KB, so it is made for those only that have copies.
[<Sealed>]
type CopyHistory() =
    // Two windows of durations, each of two and a half minutes: what is read is of both.
    let mutable current: int64[] = Array.zeroCreate DurationBuckets.classes
    let mutable previous: int64[] = Array.zeroCreate DurationBuckets.classes
    let points = Array.zeroCreate<CopyWindow> CopyHistory.Slots
    let mutable closed = 0L
    let mutable seen = CopyTotals.zero
    let mutable filled = 0
    let mutable version = 0L
    // As of the last slot that was closed. Times are UTC ticks; 0 for never.
    let mutable loss = RouteLoss.None
    let mutable losingSince = 0L
    let mutable deliveredAt = 0L
    let mutable closedAt = 0L

    static let isEmpty (point: CopyWindow) = point.Finished = 0

    // Of a window of durations.
    static let durationSlots = 15L

    static let timeOf (ticks: int64) =
        if ticks = 0L then
            ValueNone
        else
            ValueSome(DateTimeOffset(ticks, TimeSpan.Zero))

    // Totals that were read before the slot was closed may be behind it.
    static let since (before: CopyTotals) (now: CopyTotals) : CopyWindow = {
        Delivered = int (max 0L (now.Delivered - before.Delivered))
        Failed = int (max 0L (now.Failed + now.Expired - before.Failed - before.Expired))
        Dropped = int (max 0L (now.Dropped - before.Dropped))
    }

    // The slot that was closed as the one before the last `back`.
    let closedSlot (back: int) : CopyWindow =
        points[int ((closed - 1L - int64 back + int64 CopyHistory.Slots) % int64 CopyHistory.Slots)]

    let sumOfClosed (slots: int) : CopyWindow =
        let mutable sum = CopyWindow.empty

        for back in 0 .. slots - 1 do
            sum <- CopyWindow.add sum (closedSlot back)

        sum

    // When the first slot of those that are judged began in which anything was lost.
    let firstLoss (at: DateTimeOffset) (slots: int) =
        let back =
            seq { slots - 1 .. -1 .. 0 }
            |> Seq.tryFind (fun back -> (closedSlot back).Lost > 0)
            |> Option.defaultValue 0

        at - CopyHistory.SlotLength * float (back + 1)

    let judge (at: DateTimeOffset) =
        let minute, all = sumOfClosed CopyHistory.MinuteSlots, sumOfClosed CopyHistory.Slots
        let now = RouteLoss.judge loss minute all

        if now = RouteLoss.None then
            Volatile.Write(&losingSince, 0L)
        elif loss = RouteLoss.None then
            let judged =
                if minute.Finished > 0 then
                    CopyHistory.MinuteSlots
                else
                    CopyHistory.Slots

            Volatile.Write(&losingSince, (firstLoss at judged).UtcTicks)

        loss <- now

    /// How many slots are remembered.
    static member Slots: int = 60

    /// What one lasts.
    static member SlotLength: TimeSpan = TimeSpan.FromSeconds 10.0

    /// How many make a minute.
    static member MinuteSlots: int = 6

    /// A copy was delivered, so long after it was accepted.
    member _.Record(duration: TimeSpan) : unit =
        Interlocked.Increment(&(Volatile.Read &current)[DurationBuckets.classOf duration])
        |> ignore

    /// Ends a slot, with what the totals are now. To be called by one thread, once for each length of time.
    member _.Close(totals: CopyTotals, at: DateTimeOffset) : unit =
        let point = since seen totals
        seen <- totals
        let slot = int (closed % int64 CopyHistory.Slots)

        filled <-
            filled + (if isEmpty point then 0 else 1)
            - (if isEmpty points[slot] then 0 else 1)

        // A line that was flat and stays flat looks the same.
        if filled > 0 || not (isEmpty points[slot]) then
            Interlocked.Increment &version |> ignore

        points[slot] <- point
        closed <- closed + 1L
        Volatile.Write(&closedAt, at.UtcTicks)

        if point.Delivered > 0 then
            Volatile.Write(&deliveredAt, at.UtcTicks)

        judge at

        if closed % durationSlots = 0L then
            Volatile.Write(&previous, current)
            Volatile.Write(&current, Array.zeroCreate DurationBuckets.classes)

    /// Another number whenever the slots look otherwise.
    member _.Version = Volatile.Read &version

    /// The slots, the oldest first; the last one is the one that is open, as it is with these totals.
    member _.Points(totals: CopyTotals) : CopyWindow[] =
        let first = int (closed % int64 CopyHistory.Slots)
        let before = seen

        Array.init CopyHistory.Slots (fun index ->
            if index < CopyHistory.Slots - 1 then
                points[(first + 1 + index) % CopyHistory.Slots]
            else
                since before totals)

    /// The last minute, and with it the slot that is open with these totals: a minute and up to ten seconds.
    member _.LastMinute(totals: CopyTotals) : CopyWindow =
        CopyWindow.add (sumOfClosed CopyHistory.MinuteSlots) (since seen totals)

    /// The last ten minutes, of which the slot that is open is a part.
    member _.LastTenMinutes(totals: CopyTotals) : CopyWindow =
        CopyWindow.add (sumOfClosed (CopyHistory.Slots - 1)) (since seen totals)

    /// Whether copies are lost, as it is with these totals.
    member history.Loss(totals: CopyTotals) : RouteLoss =
        RouteLoss.judge loss (history.LastMinute totals) (history.LastTenMinutes totals)

    /// Where copies are lost: since when, to a slot. What began in the slot that is open began with it.
    member _.LosingSince(now: DateTimeOffset) : DateTimeOffset =
        match timeOf (Volatile.Read &losingSince), timeOf (Volatile.Read &closedAt) with
        | ValueSome since, _ -> since
        | ValueNone, ValueSome opened -> opened
        | ValueNone, ValueNone -> now

    /// The end of the last slot in which a copy was delivered, of the one that is open: now. None if none was.
    member _.LastDelivered(totals: CopyTotals, now: DateTimeOffset) : DateTimeOffset voption =
        if totals.Delivered > seen.Delivered then
            ValueSome now
        else
            timeOf (Volatile.Read &deliveredAt)

    /// Whether anything was lost in the time that is remembered, until these totals.
    member _.HasLost(totals: CopyTotals) : bool =
        (since seen totals).Lost > 0
        || points |> Array.exists (fun point -> point.Lost > 0)

    /// How many deliveries of the last minutes were in each class of `DurationBuckets`.
    member _.Durations: int64[] =
        Array.map2 (+) (Volatile.Read &current) (Volatile.Read &previous)
