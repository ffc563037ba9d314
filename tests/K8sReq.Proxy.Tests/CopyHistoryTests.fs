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

let private close (history: CopyHistory) (count: int) (totals: CopyTotals) =
    for _ in 1..count do
        history.Close totals

let tests =
    testList "CopyHistory" [
        test "a slot has what came since the one before, and the oldest go" {
            let history = CopyHistory()
            history.Close(totals 5L 1L)
            history.Close(totals 5L 4L)
            let points = history.Points(totals 6L 4L)
            Expect.equal points.Length CopyHistory.Slots "so many"

            Expect.equal
                (points |> Array.skip (CopyHistory.Slots - 3))
                [|
                    { Delivered = 5L; Lost = 1L }
                    { Delivered = 0L; Lost = 3L }
                    { Delivered = 1L; Lost = 0L }
                |]
                "the last two, and the open one"

            close history (CopyHistory.Slots - 2) (totals 5L 4L)

            Expect.equal
                (history.Points(totals 5L 4L)
                 |> Array.sumBy (fun point -> point.Delivered + point.Lost))
                3L
                "the first has gone"
        }

        test "the version stays as long as the line is flat" {
            let history = CopyHistory()
            close history 3 (totals 0L 0L)
            Expect.equal history.Version 0L "nothing has happened"
            history.Close(totals 1L 0L)
            let moved = history.Version
            history.Close(totals 1L 0L)
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
            close history (CopyHistory.Slots / 2) (totals 1L 0L)
            history.Record(TimeSpan.FromMilliseconds 1.0)
            Expect.equal (Array.sum history.Durations) 2L "both"
            close history (CopyHistory.Slots / 2) (totals 2L 0L)

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
            history.Close(totals 1L 1L)
            Expect.isFalse (history.HasLost(totals 1L 1L)) "no more"
        }
    ]
