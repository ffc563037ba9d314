/// Whether a copy in memory may be sent, where others may have it.
module K8sReq.Journal.Tests.SendLeaseTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Journal
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private lease (clock: TimeProvider) =
    let lease = SendLease(clock, TimeSpan.FromSeconds 12.0)
    lease.Renew(1L, clock.GetTimestamp(), clock.GetUtcNow())
    lease

let private ask (lease: SendLease) (epoch: int64) (stop: CancellationToken) : Task<bool> =
    lease.MaySend(epoch, stop).AsTask()

let private isWaiting (asked: Task<bool>) =
    Expect.isFalse asked.IsCompleted "it is not known"

let tests =
    testList "the lease for sending" [
        testCaseTask "in its time the present epoch may be sent, and no other"
        <| fun () -> task {
            let clock = SetClock()
            let lease = lease clock
            clock.Advance(TimeSpan.FromSeconds 11.0)
            let! present = ask lease 1L CancellationToken.None
            let! other = ask lease 2L CancellationToken.None
            Expect.equal (present, other) (true, false) "at once"
        }

        for name, pass in
            [
                "the monotonic clock says that it is over",
                fun (clock: SetClock) -> clock.Advance(TimeSpan.FromSeconds 12.0)
                "the clock of the day does", fun clock -> clock.Offset <- TimeSpan.FromSeconds 12.0
            ] do
            testCaseTask $"where {name} it waits for the next one"
            <| fun () -> task {
                let clock = SetClock()
                let lease = lease clock
                pass clock
                let asked = ask lease 1L CancellationToken.None
                isWaiting asked
                // Granted too late: its time is over as well.
                lease.Renew(1L, clock.GetTimestamp() - clock.TimestampFrequency * 13L, clock.GetUtcNow())
                isWaiting asked
                lease.Renew(1L, clock.GetTimestamp(), clock.GetUtcNow())
                let! may = asked |> Waiting.within "the answer"
                Expect.isTrue may "it is known now"
            }

        testCaseTask "who waits is told that another has it"
        <| fun () -> task {
            let clock = SetClock()
            let lease = lease clock
            clock.Advance(TimeSpan.FromSeconds 13.0)
            let asked = ask lease 1L CancellationToken.None
            isWaiting asked
            lease.Renew(2L, clock.GetTimestamp(), clock.GetUtcNow())
            let! may = asked |> Waiting.within "the answer"
            Expect.isFalse may "in another epoch"
        }

        testCaseTask "a stop ends the wait"
        <| fun () -> task {
            let clock = SetClock()
            let lease = lease clock
            clock.Advance(TimeSpan.FromSeconds 13.0)
            use stop = new CancellationTokenSource()
            let asked = ask lease 1L stop.Token
            isWaiting asked
            stop.Cancel()

            do! Waiting.until "the end of the wait" (fun () -> Task.FromResult asked.IsCanceled)
        }
    ]
