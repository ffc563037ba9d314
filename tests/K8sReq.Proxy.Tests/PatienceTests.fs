module K8sReq.Proxy.Tests.PatienceTests

open System.Diagnostics
open Expecto
open K8sReq.Proxy

let private microseconds (count: int64) =
    count * Stopwatch.Frequency / 1_000_000L

/// A request is copied in a turn of its own, so long after the one before; its copy ends in the next turn.
type private Scene() =
    let patience = Patience()
    let mutable now = microseconds 1_000_000L

    member _.Patience = patience

    member _.Turn(after: int64) =
        now <- now + microseconds after
        patience.TurnBegan now

    member scene.Request(after: int64) =
        scene.Turn after
        patience.Sent()
        patience.Ended()

    member scene.Requests(count: int, after: int64) =
        for _ in 1..count do
            scene.Request after

let private patientOf () =
    let scene = Scene()
    scene.Requests(40, 400L)
    Expect.isTrue scene.Patience.IsPatient "requests follow upon each other"
    scene

let tests =
    testList "Patience" [
        test "there is none at the start" {
            Expect.isFalse (Patience().IsPatient) "each answer wakes the loop"
        }

        test "requests within less than five milliseconds bring it, and such that are further apart do not" {
            patientOf () |> ignore
            let scene = Scene()
            scene.Requests(40, 4_900L)
            Expect.isTrue scene.Patience.IsPatient "4,900 µs apart"
            let scene = Scene()
            scene.Requests(1_000, 5_100L)
            Expect.isFalse scene.Patience.IsPatient "5,100 µs apart"
        }

        test "copies of one request are one" {
            let scene = Scene()

            for _ in 1..100 do
                scene.Turn 6_000L

                for _ in 1..20 do
                    scene.Patience.Sent()
                    scene.Patience.Ended()

            Expect.isFalse scene.Patience.IsPatient "fewer than 200 requests a second, of many copies each"
        }

        test "a few that come late do not end it; many do" {
            let scene = patientOf ()
            scene.Requests(3, 6_000L)
            Expect.isTrue scene.Patience.IsPatient "three"
            scene.Requests(2, 6_000L)
            Expect.isFalse scene.Patience.IsPatient "five"
        }

        test "it is limited while an attempt is under way" {
            let scene = patientOf ()
            Expect.isFalse scene.Patience.IsLimited "nothing is awaited"
            scene.Turn 400L
            scene.Patience.Sent()
            Expect.isTrue scene.Patience.IsLimited "an answer is"
            scene.Patience.Ended()
            Expect.isFalse scene.Patience.IsLimited "it has come"
        }

        test "it ends where nothing comes within its time, and something is awaited" {
            let scene = patientOf ()
            scene.Turn 1_000L
            scene.Patience.Telling()
            scene.Patience.Told(0, true)
            Expect.isTrue scene.Patience.IsPatient "nothing was awaited"
            scene.Patience.Sent()
            scene.Turn 1_000L
            scene.Patience.Telling()
            scene.Patience.Told(0, true)
            Expect.isFalse scene.Patience.IsPatient "a slow target"
        }

        test "it ends with a send that had waited for another's end" {
            let scene = patientOf ()
            scene.Turn 400L
            scene.Patience.Telling()
            scene.Patience.Sent()
            scene.Patience.Told(1, false)
            Expect.isFalse scene.Patience.IsPatient "a queue"
        }

        test "a connection that is being made, or takes no more, ends it until it has gone on" {
            let scene = patientOf ()
            scene.Patience.Pressed()
            Expect.isFalse scene.Patience.IsPatient "pressed"
            scene.Requests(100, 400L)
            Expect.isFalse scene.Patience.IsPatient "still"
            scene.Patience.Calmed()
            scene.Requests(40, 400L)
            Expect.isTrue scene.Patience.IsPatient "again"
        }
    ]
