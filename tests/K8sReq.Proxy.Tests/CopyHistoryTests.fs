module K8sReq.Proxy.Tests.CopyHistoryTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private totals (delivered: int64) (lost: int64) : CopyTotals = {
    CopyTotals.zero with
        Accepted = delivered + lost
        Delivered = delivered
        Failed = lost
}

let private start = DateTimeOffset(2026, 1, 1, 12, 0, 0, TimeSpan.Zero)

// After so many slots.
let private after (slots: int) =
    start + CopyHistory.SlotLength * float slots

let private close (history: CopyHistory) (count: int) (totals: CopyTotals) =
    for _ in 1..count do
        history.Close(totals, start)

let private point (delivered: int) (lost: int) : CopyWindow = {
    Delivered = delivered
    Failed = lost
    Dropped = 0
}

let tests =
    testList "CopyHistory" [
        test "a slot has what came since the one before, and the oldest go" {
            let history = CopyHistory()
            history.Close(totals 5L 1L, start)
            history.Close(totals 5L 4L, start)
            let points = history.Points(totals 6L 4L)
            Expect.equal points.Length CopyHistory.Slots "so many"

            Expect.equal
                (points |> Array.skip (CopyHistory.Slots - 3))
                [| point 5 1; point 0 3; point 1 0 |]
                "the last two, and the open one"

            close history (CopyHistory.Slots - 2) (totals 5L 4L)

            Expect.equal (history.Points(totals 5L 4L) |> Array.sumBy _.Finished) 3 "the first has gone"
        }

        test "the version stays as long as the line is flat" {
            let history = CopyHistory()
            close history 3 (totals 0L 0L)
            Expect.equal history.Version 0L "nothing has happened"
            history.Close(totals 1L 0L, start)
            let moved = history.Version
            history.Close(totals 1L 0L, start)
            Expect.isGreaterThan moved 0L "a bar"
            Expect.isGreaterThan history.Version moved "which moves"
            close history CopyHistory.Slots (totals 1L 0L)
            let gone = history.Version
            close history 5 (totals 1L 0L)
            Expect.equal history.Version gone "and is out of sight"
        }

        test "durations are of the last slots, not of all time" {
            let history = CopyHistory()
            history.Record(TimeSpan.FromSeconds 9.0)
            Expect.equal (Array.sum history.Durations) 1L "at once"
            close history 15 (totals 1L 0L)
            history.Record(TimeSpan.FromMilliseconds 1.0)
            Expect.equal (Array.sum history.Durations) 2L "both"
            close history 15 (totals 2L 0L)

            Expect.isLessThan
                (DurationBuckets.quantile 1.0 history.Durations |> Option.get)
                (TimeSpan.FromSeconds 1.0)
                "the slow one is of long ago"
        }

        test "what was lost is known before its slot has ended, and for as long as it is remembered" {
            let history = CopyHistory()
            Expect.isFalse (history.HasLost(totals 1L 0L)) "nothing"
            Expect.isTrue (history.HasLost(totals 1L 1L)) "just now"
            close history CopyHistory.Slots (totals 1L 1L)
            Expect.isTrue (history.HasLost(totals 1L 1L)) "still remembered"
            history.Close(totals 1L 1L, start)
            Expect.isFalse (history.HasLost(totals 1L 1L)) "no more"
        }

        test "the last minute has six slots and the open one, the last ten minutes all of them" {
            let history = CopyHistory()

            for slot in 1 .. CopyHistory.Slots + 5 do
                history.Close(totals (int64 slot) 0L, after slot)

            let now = totals (int64 CopyHistory.Slots + 5L + 2L) 1L
            Expect.equal (history.LastMinute now) (point 8 1) "six and two, and one lost"
            Expect.equal (history.LastTenMinutes now) (point 61 1) "fifty-nine and two, and one lost"
        }

        test "since when copies are lost is known to a slot, for as long as they are" {
            let history = CopyHistory()

            for slot in 1..10 do
                history.Close(totals 10L 0L, after slot)

            Expect.equal (history.Loss(totals 10L 1L)) RouteLoss.Failing "before the slot has ended"
            Expect.equal (history.LosingSince(after 11)) (after 10) "since the open slot began"

            for slot in 11 .. 11 + 2 * CopyHistory.Slots do
                history.Close(totals 10L (int64 slot - 10L), after slot)

            let later = totals 10L (2L * int64 CopyHistory.Slots + 1L)
            Expect.equal (history.LosingSince(after 500)) (after 10) "however long ago"
            Expect.equal (history.Loss later) RouteLoss.Failing "still"

            // Nothing comes any more: nobody knows better.
            for slot in 200 .. 200 + 2 * CopyHistory.Slots do
                history.Close(later, after slot)

            Expect.equal (history.Loss later) RouteLoss.Failing "as it was"
            Expect.equal (history.LosingSince(after 500)) (after 10) "since then"

            let delivered = {
                later with
                    Delivered = later.Delivered + 1L
            }

            Expect.equal (history.Loss delivered) RouteLoss.None "one is delivered"
            history.Close(delivered, after 400)
            let again = { delivered with Dropped = 2L }
            Expect.equal (history.Loss again) RouteLoss.Dropping "lost again"
            history.Close(again, after 401)
            Expect.equal (history.LosingSince(after 500)) (after 400) "since the slot of the new loss"
        }

        test "the last delivery is known to a slot" {
            let history = CopyHistory()
            Expect.equal (history.LastDelivered(totals 0L 1L, after 1)) ValueNone "none"
            Expect.equal (history.LastDelivered(totals 1L 1L, after 1)) (ValueSome(after 1)) "just now"
            history.Close(totals 1L 1L, after 1)
            history.Close(totals 1L 2L, after 2)
            Expect.equal (history.LastDelivered(totals 1L 2L, after 9)) (ValueSome(after 1)) "its slot's end"
        }
    ]
