module K8sReq.Journal.Tests.RoomTests

open System
open Expecto
open K8sReq.Journal.Sqlite
open K8sReq.TestKit

let private mebibytes (count: int64) = count * 1024L * 1024L

/// A volume of which so much is free, in MiB, and how often it was asked for that.
type private Volume(freeAtFirst: int64, unused: int64) =
    let clock = TestClock()
    let mutable asked = 0
    member val Free = freeAtFirst with get, set
    member _.Clock = clock
    member _.Asked = asked

    member volume.Room =
        JournalRoom(
            clock,
            (fun () ->
                asked <- asked + 1
                mebibytes volume.Free),
            fun () -> mebibytes unused
        )

let tests =
    testList "room on the volume" [
        test "32 MiB stay free, what is unused in the file counts, and once it was full 8 MiB more are wanted" {
            let room = (Volume(33L, 0L)).Room
            Expect.isTrue (room.IsThere(false, mebibytes 1L)) "just enough"
            Expect.isFalse (room.IsThere(false, mebibytes 1L + 1L)) "a byte too many"
            Expect.isTrue ((Volume(3L, 30L)).Room.IsThere(false, mebibytes 1L)) "30 of them in the file"
            Expect.isFalse ((Volume(40L, 0L)).Room.IsThere(true, mebibytes 1L)) "it was full"
            Expect.isTrue ((Volume(41L, 0L)).Room.IsThere(true, mebibytes 1L)) "and is not any more"
        }

        test "with a GiB more than that the volume is asked again after 100 ms, else each time" {
            let volume = Volume(2_000L, 0L)
            let room = volume.Room

            for _ in 1..5 do
                Expect.isTrue (room.IsThere(false, mebibytes 1L)) "there is plenty"

            Expect.equal volume.Asked 1 "once"
            volume.Free <- 0L
            volume.Clock.Advance(TimeSpan.FromMilliseconds 100.0)
            Expect.isFalse (room.IsThere(false, mebibytes 1L)) "others have filled it"
            Expect.isFalse (room.IsThere(false, mebibytes 1L)) "it is still full"
            Expect.equal volume.Asked 3 "each time"
        }

        test "what is added meanwhile is no room any more" {
            let volume = Volume(2_000L, 0L)
            let room = volume.Room

            for _ in 1..3 do
                Expect.isTrue (room.IsThere(false, mebibytes 400L)) "there is plenty"

            // 1,568 MiB were left after the first, and 1,168 after the second.
            Expect.equal volume.Asked 2 "the third one leaves less than a GiB"
        }
    ]
