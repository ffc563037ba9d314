namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Counts what becomes of copies, each fact once: for its RequestClone and in all. Tells when no copy is pending. From any
/// thread.
[<Sealed>]
type CopyAccounts() =
    let counts = CopyCounts()
    // Pending copies that are in memory; the others wait in the journal alone.
    let mutable held = 0L
    // Replaced under the gate: set while somebody waits for the last copy in memory.
    let gate = Lock()
    let mutable idle: TaskCompletionSource | null = null

    let hold (copies: int64) =
        Interlocked.Add(&held, copies) |> ignore

    // Both here and in `WhenIdle` nothing is read before what was written is seen by others: either this thread finds who waits, or
    // who waits finds that nothing is held.
    let release () =
        if Interlocked.Decrement &held = 0L then
            match Volatile.Read &idle with
            | null -> ()
            | waiting -> waiting.TrySetResult() |> ignore

    /// `Pending` is never less than nothing: see `CopyCounts.Totals`.
    member _.Totals: CopyTotals = counts.Totals

    /// A copy was accepted. To be called before the client is told so.
    member _.Accepted(clone: CloneStatistics) : unit =
        counts.Accept 1L
        hold 1L
        clone.Accept()

    /// The same for all copies of a request that are held in memory, in all: their RequestClones are told by `FanOut.accept`.
    member internal _.AcceptedInMemory(copies: int) : unit =
        counts.Accept(int64 copies)
        hold (int64 copies)

    /// A copy was accepted, and waits in the journal alone.
    member _.AcceptedToJournal(clone: CloneStatistics) : unit =
        counts.Accept 1L
        clone.Accept()

    /// So many copies were found in the journal.
    member _.Recovered(clone: CloneStatistics, copies: int64) : unit =
        counts.Recover copies
        clone.Recover copies

    /// A copy has come out of the journal into memory.
    member _.Loaded() : unit = hold 1L

    /// A copy has left the memory, and waits in the journal alone.
    member _.Shelved() : unit = release ()

    /// So many dead letters are copies again, and wait in the journal.
    member _.Replayed(clone: CloneStatistics, copies: int64) : unit =
        counts.Replay copies
        clone.Replay copies

    /// Copies that waited in the journal alone were given up.
    member _.DroppedFromJournal(clone: CloneStatistics, copies: int64) : unit =
        counts.Drop copies
        clone.Drop copies

    /// Copies that were found in the journal are not sent again: they have failed.
    member _.FailedInJournal(clone: CloneStatistics, copies: int64) : unit =
        counts.Fail copies
        clone.Fail copies

    /// Copies that waited in the journal alone are another replica's now.
    member _.TakenOverInJournal(clone: CloneStatistics, copies: int64) : unit =
        counts.TakeOver copies
        clone.TakeOver copies

    /// An attempt of this number has ended: its copy may go on.
    member _.AttemptEnded(clone: CloneStatistics, number: int, outcome: TargetOutcome) : unit =
        clone.Attempted outcome

        if number > 1 then
            clone.Retry()
            counts.Retry()

    /// A copy has ended, so long after it was accepted. To be called once for every accepted copy, after everything else
    /// that is told of it: who waits for the last copy finds all of them reported.
    member _.Ended(clone: CloneStatistics, outcome: TargetOutcome, duration: TimeSpan) : unit =
        clone.End(outcome, duration)
        counts.End outcome
        release ()

    /// Completed once no copy is in memory. For the time after the last copy was accepted.
    member _.WhenIdle() : Task =
        exclusively gate (fun () ->
            let waiting =
                match idle with
                | null -> TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
                // Copies may come out of the journal after that.
                | asked when asked.Task.IsCompleted ->
                    TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
                | asked -> asked

            // A full fence: see `release`.
            Interlocked.Exchange(&idle, waiting) |> ignore

            if Volatile.Read &held = 0L then
                waiting.TrySetResult() |> ignore

            waiting.Task)
