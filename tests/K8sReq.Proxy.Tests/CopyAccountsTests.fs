module K8sReq.Proxy.Tests.CopyAccountsTests

open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private clone = CloneStatistics(ObjectKey.create "shop" "a")

let private accept (accounts: CopyAccounts) (copies: int) =
    for _ in 1..copies do
        accounts.Accepted clone

let tests =
    testList "CopyAccounts" [
        testProperty
            "accepted = delivered + failed + dropped + pending, after any sequence"
            (fun (accepts: byte list) (ends: byte list) ->
                let accounts = CopyAccounts()
                accepts |> List.iter (int >> accept accounts)
                let accepted = accepts |> List.sumBy int64

                let outcomes = [|
                    TargetOutcome.Delivered 200
                    TargetOutcome.Rejected 500
                    TargetOutcome.Overflowed
                    TargetOutcome.Cancelled
                |]

                let ended =
                    ends
                    |> List.truncate (int accepted)
                    |> List.map (fun choice -> outcomes[int choice % outcomes.Length])

                ended
                |> List.iter (fun outcome -> accounts.Ended(clone, outcome, System.TimeSpan.Zero))

                let count isSo =
                    ended |> List.filter isSo |> List.length |> int64

                let expected = {
                    Accepted = accepted
                    Recovered = 0L
                    Replayed = 0L
                    Delivered = count TargetOutcome.isDelivered
                    Failed = count ((=) (TargetOutcome.Rejected 500))
                    Dropped = count TargetOutcome.isDropped
                    Expired = 0L
                    TakenOver = 0L
                    Retries = 0L
                }

                accounts.Totals = expected
                && accounts.Totals.Pending = accepted - int64 ended.Length)

        testCaseTask "idle at once if nothing is under way"
        <| fun () -> task { do! CopyAccounts().WhenIdle() }

        testCaseTask "idle once the last copy has ended, whatever its end"
        <| fun () -> task {
            let accounts = CopyAccounts()
            accept accounts 2
            let idle = accounts.WhenIdle()
            accounts.Ended(clone, TargetOutcome.Delivered 200, System.TimeSpan.Zero)
            Expect.isFalse idle.IsCompleted "one is still under way"
            accounts.Ended(clone, TargetOutcome.ConnectFailed "refused", System.TimeSpan.Zero)
            do! idle
        }

        testCaseTask "what waits in the journal alone is pending, and nobody waits for it"
        <| fun () -> task {
            let accounts = CopyAccounts()
            accounts.Recovered(clone, 2L)
            accounts.AcceptedToJournal clone
            accept accounts 1
            Expect.equal accounts.Totals.Pending 4L "all of them"
            let idle = accounts.WhenIdle()
            accounts.Shelved()
            do! idle
            Expect.equal accounts.Totals.Pending 4L "shelved is not ended"
            accounts.Loaded()
            Expect.isFalse (accounts.WhenIdle()).IsCompleted "one is in memory again"
            accounts.Ended(clone, TargetOutcome.Delivered 200, System.TimeSpan.Zero)
            accounts.DroppedFromJournal(clone, 3L)
            do! accounts.WhenIdle()
            Expect.equal accounts.Totals.Pending 0L "all have ended"
        }

        testCaseTask "counts right from many threads at once"
        <| fun () -> task {
            let accounts = CopyAccounts()

            let work () =
                for _ in 1..1000 do
                    accept accounts 2
                    accounts.Ended(clone, TargetOutcome.Delivered 200, System.TimeSpan.Zero)
                    accounts.AttemptEnded(clone, 2, TargetOutcome.Rejected 500)
                    accounts.Ended(clone, TargetOutcome.Rejected 500, System.TimeSpan.Zero)

            do! Task.WhenAll [ for _ in 1..8 -> Task.Run work ]

            Expect.equal
                accounts.Totals
                {
                    Accepted = 16000L
                    Recovered = 0L
                    Replayed = 0L
                    Delivered = 8000L
                    Failed = 8000L
                    Dropped = 0L
                    Expired = 0L
                    TakenOver = 0L
                    Retries = 8000L
                }
                "none lost"
        }

        test "the copies of a request are accepted at once: for each RequestClone, and in all" {
            let accounts = CopyAccounts()

            let laneOf name =
                Targets.named name
                |> Targets.lane { Concurrency = 2; QueueBytes = 100L } {
                    Overflowed = ignore
                    Recovered = fun _ _ -> ()
                }

            let lanes = [ laneOf "one"; laneOf "other" ]

            FanOut.accept accounts (ResizeArray [ for lane in lanes -> struct (lane, Task.FromResult true) ])

            Expect.equal (accounts.Totals.Accepted, accounts.Totals.Pending) (2L, 2L) "in all"

            for lane in lanes do
                Expect.equal lane.Statistics.Totals.Accepted 1L "each"
                Expect.isFalse (accounts.WhenIdle()).IsCompleted "somebody is under way"
                accounts.Ended(lane.Statistics, TargetOutcome.Delivered 200, System.TimeSpan.Zero)

            Expect.isTrue (accounts.WhenIdle()).IsCompleted "both have ended"
        }

        testCaseTask "while copies are accepted and end, no reading has more ends than copies"
        <| fun () -> task {
            let accounts = CopyAccounts()
            let mutable isOver = false

            let work () =
                for _ in 1..20_000 do
                    accept accounts 1
                    accounts.Ended(clone, TargetOutcome.Delivered 200, System.TimeSpan.Zero)

            let read () =
                let mutable least = 0L

                while not (Volatile.Read &isOver) do
                    least <- min least accounts.Totals.Pending

                least

            let reading = Task.Run<int64> read
            do! Task.WhenAll [ for _ in 1..2 -> Task.Run work ]
            Volatile.Write(&isOver, true)
            let! least = reading
            Expect.equal least 0L "less than nothing was never pending"
            Expect.equal accounts.Totals.Pending 0L "at last"
        }

        testCaseTask "who waits for the last copy is told, however close its end is"
        <| fun () -> task {
            for _ in 1..2_000 do
                let accounts = CopyAccounts()
                accept accounts 1
                use together = new Barrier(2)

                let ending =
                    Task.Run(fun () ->
                        together.SignalAndWait()
                        accounts.Ended(clone, TargetOutcome.Delivered 200, System.TimeSpan.Zero))

                let waiting =
                    Task.Run<unit>(fun () -> task {
                        together.SignalAndWait()
                        do! accounts.WhenIdle()
                    })

                do! ending
                do! waiting |> Waiting.within "the last copy"
        }
    ]
