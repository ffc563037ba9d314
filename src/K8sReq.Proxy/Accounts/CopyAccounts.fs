namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Counts what becomes of copies, each fact once: for its RequestClone and in all. Tells when no copy is pending. From any
/// thread.
[<Sealed>]
type CopyAccounts() =
    let gate = Lock()
    // Guarded by the gate: accepted + recovered + replayed = delivered + failed + dropped + expired + taken over + pending.
    let mutable totals = CopyTotals.zero
    // Guarded by the gate: pending copies that are in memory; the others wait in the journal alone.
    let mutable held = 0L
    // Guarded by the gate: set while somebody waits for the last copy in memory.
    let mutable idle: TaskCompletionSource | null = null

    // To be called under the gate.
    let drop () =
        held <- held - 1L

        match idle with
        | null -> ()
        | waiting ->
            if held = 0L then
                waiting.TrySetResult() |> ignore

    let change (next: CopyTotals -> CopyTotals) : unit =
        exclusively gate (fun () -> totals <- next totals)

    let accept (clone: CloneStatistics) (isHeld: bool) =
        exclusively gate (fun () ->
            if isHeld then
                held <- held + 1L

            totals <- {
                totals with
                    Accepted = totals.Accepted + 1L
            })

        clone.Accept()

    member _.Totals = exclusively gate (fun () -> totals)

    /// A copy was accepted. To be called before the client is told so.
    member _.Accepted(clone: CloneStatistics) : unit = accept clone true

    /// A copy was accepted, and waits in the journal alone.
    member _.AcceptedToJournal(clone: CloneStatistics) : unit = accept clone false

    /// So many copies were found in the journal.
    member _.Recovered(clone: CloneStatistics, copies: int64) : unit =
        change (fun totals -> {
            totals with
                Recovered = totals.Recovered + copies
        })

        clone.Recover copies

    /// A copy has come out of the journal into memory.
    member _.Loaded() : unit =
        exclusively gate (fun () -> held <- held + 1L)

    /// A copy has left the memory, and waits in the journal alone.
    member _.Shelved() : unit = exclusively gate drop

    /// So many dead letters are copies again, and wait in the journal.
    member _.Replayed(clone: CloneStatistics, copies: int64) : unit =
        change (fun totals -> {
            totals with
                Replayed = totals.Replayed + copies
        })

        clone.Replay copies

    /// Copies that waited in the journal alone were given up.
    member _.DroppedFromJournal(clone: CloneStatistics, copies: int64) : unit =
        change (fun totals -> {
            totals with
                Dropped = totals.Dropped + copies
        })

        clone.Drop copies

    /// Copies that were found in the journal are not sent again: they have failed.
    member _.FailedInJournal(clone: CloneStatistics, copies: int64) : unit =
        change (fun totals -> {
            totals with
                Failed = totals.Failed + copies
        })

        clone.Fail copies

    /// Copies that waited in the journal alone are another replica's now.
    member _.TakenOverInJournal(clone: CloneStatistics, copies: int64) : unit =
        change (fun totals -> {
            totals with
                TakenOver = totals.TakenOver + copies
        })

        clone.TakeOver copies

    /// An attempt of this number has ended: its copy may go on.
    member _.AttemptEnded(clone: CloneStatistics, number: int, outcome: TargetOutcome) : unit =
        clone.Attempted outcome

        if number > 1 then
            clone.Retry()

            change (fun totals -> {
                totals with
                    Retries = totals.Retries + 1L
            })

    /// A copy has ended, so long after it was accepted. To be called once for every accepted copy, after everything else
    /// that is told of it: who waits for the last copy finds all of them reported.
    member _.Ended(clone: CloneStatistics, outcome: TargetOutcome, duration: TimeSpan) : unit =
        clone.End(outcome, duration)

        exclusively gate (fun () ->
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
                elif TargetOutcome.isExpired outcome then
                    {
                        totals with
                            Expired = totals.Expired + 1L
                    }
                elif TargetOutcome.isTakenOver outcome then
                    {
                        totals with
                            TakenOver = totals.TakenOver + 1L
                    }
                else
                    {
                        totals with
                            Failed = totals.Failed + 1L
                    }

            drop ())

    /// Completed once no copy is in memory. For the time after the last copy was accepted.
    member _.WhenIdle() : Task =
        exclusively gate (fun () ->
            if held = 0L then
                Task.CompletedTask
            else
                let waiting =
                    match idle with
                    | null -> TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
                    // Copies may come out of the journal after that.
                    | asked when asked.Task.IsCompleted ->
                        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
                    | asked -> asked

                idle <- waiting
                waiting.Task)
