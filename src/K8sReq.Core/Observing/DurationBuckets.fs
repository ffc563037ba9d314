namespace K8sReq.Core

open System
open System.Numerics

/// Durations in so few classes that each target can have a count of each, and so many that a quantile read off them is at
/// most a quarter away: four for each doubling from 64 µs to about 134 s, one below and one above.
module DurationBuckets =
    let private lowestPower = 6
    let private highestPower = 26
    let private perDoubling = 4

    /// How many classes there are.
    let classes = 2 + (highestPower - lowestPower + 1) * perDoubling

    /// The class of a duration, from 0 to `classes - 1`. Allocates nothing.
    let classOf (duration: TimeSpan) : int =
        let microseconds = duration.Ticks / TimeSpan.TicksPerMicrosecond

        if microseconds < (1L <<< lowestPower) then
            0
        else
            let power = BitOperations.Log2(uint64 microseconds)

            if power > highestPower then
                classes - 1
            else
                // The two bits after the first.
                let quarter = int ((microseconds >>> (power - 2)) &&& 3L)
                1 + (power - lowestPower) * perDoubling + quarter

    /// Where a class begins. Each ends where the next one begins; the last one has no end.
    let lowerBound (index: int) : TimeSpan =
        if index <= 0 then
            TimeSpan.Zero
        else
            let power = lowestPower + (index - 1) / perDoubling
            let quarter = (index - 1) % perDoubling
            TimeSpan.FromMicroseconds(float (int64 (perDoubling + quarter) <<< (power - 2)))

    /// The duration that this share (from 0 to 1) of the counted ones do not exceed; None if none were counted. Within a
    /// class they are taken to be spread evenly; of the last class no more is known than where it begins.
    let quantile (share: float) (counts: int64[]) : TimeSpan option =
        let total = Array.sum counts

        if total = 0L then
            None
        else
            let wanted = Math.Max(1.0, Math.Ceiling(share * float total))

            let rec go index (before: int64) =
                let upTo = before + counts[index]

                if float upTo < wanted then
                    go (index + 1) upTo
                else
                    let lower = lowerBound index

                    if index = classes - 1 then
                        lower
                    else
                        let part = (wanted - float before) / float counts[index]
                        lower + (lowerBound (index + 1) - lower) * part

            Some(go 0 0L)
