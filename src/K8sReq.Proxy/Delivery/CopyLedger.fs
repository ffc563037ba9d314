namespace K8sReq.Proxy

open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Keeps the totals and tells when no copy is under way.
[<Sealed>]
type CopyLedger() =
    let gate = Lock()

    let mutable totals = CopyTotals.zero

    let mutable idle: TaskCompletionSource | null = null

    member _.Totals = lock gate (fun () -> totals)

    /// To be called before the client is told that its copies were accepted.
    member _.Accept(copies: int) =
        lock gate (fun () ->
            totals <- {
                totals with
                    Accepted = totals.Accepted + int64 copies
            })

    /// To be called before each attempt after a copy's first.
    member _.Retry() =
        lock gate (fun () ->
            totals <- {
                totals with
                    Retries = totals.Retries + 1L
            })

    /// To be called once for every accepted copy.
    member _.End(outcome: TargetOutcome) =
        lock gate (fun () ->
            totals <-
                if TargetOutcome.isDelivered outcome then
                    {
                        totals with
                            Delivered = totals.Delivered + 1L
                    }
                elif TargetOutcome.isDropped outcome then
                    {
                        totals with
                            Dropped = totals.Dropped + 1L
                    }
                else
                    {
                        totals with
                            Failed = totals.Failed + 1L
                    }

            match idle with
            | null -> ()
            | waiting ->
                if totals.Pending = 0L then
                    waiting.TrySetResult() |> ignore)

    /// Completed once no copy is under way. For the time after the last copy was accepted.
    member _.WhenIdle() : Task =
        lock gate (fun () ->
            if totals.Pending = 0L then
                Task.CompletedTask
            else
                let waiting =
                    match idle with
                    | null -> TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
                    | asked -> asked

                idle <- waiting
                waiting.Task)
