module K8sReq.Proxy.Tests.CopyLedgerTests

open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let tests =
    testList "CopyLedger" [
        testProperty
            "accepted = delivered + failed + dropped + pending, after any sequence"
            (fun (accepts: byte list) (ends: byte list) ->
                let ledger = CopyLedger()
                accepts |> List.iter (int >> ledger.Accept)
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

                ended |> List.iter ledger.End

                let count isSo =
                    ended |> List.filter isSo |> List.length |> int64

                let expected = {
                    Accepted = accepted
                    Delivered = count TargetOutcome.isDelivered
                    Failed = count ((=) (TargetOutcome.Rejected 500))
                    Dropped = count TargetOutcome.isDropped
                    Retries = 0L
                }

                ledger.Totals = expected
                && ledger.Totals.Pending = accepted - int64 ended.Length)

        testCaseTask "idle at once if nothing is under way"
        <| fun () -> task { do! CopyLedger().WhenIdle() }

        testCaseTask "idle once the last copy has ended, whatever its end"
        <| fun () -> task {
            let ledger = CopyLedger()
            ledger.Accept 2
            let idle = ledger.WhenIdle()
            ledger.End(TargetOutcome.Delivered 200)
            Expect.isFalse idle.IsCompleted "one is still under way"
            ledger.End(TargetOutcome.ConnectFailed "refused")
            do! idle
        }

        testCaseTask "counts right from many threads at once"
        <| fun () -> task {
            let ledger = CopyLedger()

            let work () =
                for _ in 1..1000 do
                    ledger.Accept 2
                    ledger.End(TargetOutcome.Delivered 200)
                    ledger.Retry()
                    ledger.End(TargetOutcome.Rejected 500)

            do! Task.WhenAll [ for _ in 1..8 -> Task.Run work ]

            Expect.equal
                ledger.Totals
                {
                    Accepted = 16000L
                    Delivered = 8000L
                    Failed = 8000L
                    Dropped = 0L
                    Retries = 8000L
                }
                "none lost"
        }
    ]
