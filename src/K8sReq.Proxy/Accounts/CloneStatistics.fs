namespace K8sReq.Proxy

open System
open System.Threading
open K8sReq.Core

/// Under which attempts are counted.
[<Struct>]
type internal AttemptLabel = {
    /// 0 for none.
    Status: int
    ErrorType: string
}

/// What has become of one RequestClone's copies since the process began. From any thread. Tells once that it has a history, whose
/// slots are to be closed from then on.
[<Sealed>]
type CloneStatistics(clone: ObjectKey, hasHistory: CloneStatistics -> unit) =
    let counts = CopyCounts()
    // Of ten thousand RequestClones few may ever get a request.
    let mutable attempts: ByLabel<AttemptLabel, Counter> | null = null
    let mutable history: CopyHistory | null = null
    let mutable failures: RecentItems<CopyFailure> | null = null
    let mutable deliveries: RecentItems<CopyDelivered> | null = null
    // Whether the next delivery is kept: one of each slot is, so that a busy route pays for one in thousands.
    let mutable wantsDelivery = true

    static let failuresKept = 16
    static let deliveriesKept = 12

    let attemptsNow () =
        match Volatile.Read &attempts with
        | null ->
            Interlocked.CompareExchange(&attempts, ByLabel(fun () -> Counter()), null)
            |> ignore

            nonNull (Volatile.Read &attempts)
        | made -> made

    let failuresNow () =
        match Volatile.Read &failures with
        | null ->
            Interlocked.CompareExchange(&failures, RecentItems failuresKept, null) |> ignore
            nonNull (Volatile.Read &failures)
        | made -> made

    let deliveriesNow () =
        match Volatile.Read &deliveries with
        | null ->
            Interlocked.CompareExchange(&deliveries, RecentItems deliveriesKept, null)
            |> ignore

            nonNull (Volatile.Read &deliveries)
        | made -> made

    new(clone: ObjectKey) = CloneStatistics(clone, ignore)

    member _.Clone = clone

    member private statistics.HistoryNow() : CopyHistory =
        match Volatile.Read &history with
        | null ->
            let made = CopyHistory()

            match Interlocked.CompareExchange(&history, made, null) with
            | null ->
                hasHistory statistics
                made
            | other -> other
        | made -> made

    member _.Accept() = counts.Accept 1L
    /// So many copies were found in the journal.
    member _.Recover(copies: int64) = counts.Recover copies
    /// So many dead letters are copies again.
    member _.Replay(copies: int64) = counts.Replay copies

    /// So many copies were given up that waited in the journal.
    member statistics.Drop(copies: int64) =
        statistics.HistoryNow() |> ignore
        counts.Drop copies

    /// So many copies that were found in the journal have failed.
    member statistics.Fail(copies: int64) =
        statistics.HistoryNow() |> ignore
        counts.Fail copies

    /// So many copies that waited in the journal are another replica's now.
    member _.TakeOver(copies: int64) = counts.TakeOver copies

    /// A copy has ended, for good, so long after it was accepted.
    member statistics.End(outcome: TargetOutcome, duration: TimeSpan) =
        let history = statistics.HistoryNow()

        counts.End outcome

        if TargetOutcome.isDelivered outcome then
            history.Record duration

    /// Keeps what is known of a copy that was not delivered, for a while.
    member _.Keep(failure: CopyFailure) : unit = failuresNow().Add failure

    /// The last copies that were not delivered, a few, in no order.
    member _.Failures: CopyFailure list =
        match Volatile.Read &failures with
        | null -> []
        | kept -> kept.All

    /// Whether what is known of the next delivered copy is to be kept. Two threads may both be told so.
    member _.WantsDelivery: bool = Volatile.Read &wantsDelivery

    /// Keeps what is known of a delivered copy, for a while.
    member _.KeepDelivered(delivered: CopyDelivered) : unit =
        Volatile.Write(&wantsDelivery, false)
        deliveriesNow().Add delivered

    /// Some of the last delivered copies, at most one of each slot of the history, in no order.
    member _.Deliveries: CopyDelivered list =
        match Volatile.Read &deliveries with
        | null -> []
        | kept -> kept.All

    /// What became of its copies in the last minutes; None if none has ended.
    member _.History: CopyHistory voption =
        match Volatile.Read &history with
        | null -> ValueNone
        | made -> ValueSome made

    /// Whether copies were lately not delivered.
    member statistics.IsLosing: bool =
        let totals = statistics.Totals

        match statistics.History with
        | ValueNone -> false
        | ValueSome history -> history.HasLost totals

    /// A slot of the history has passed.
    member statistics.CloseSlot(at: DateTimeOffset) : unit =
        match statistics.History with
        | ValueNone -> ()
        | ValueSome history ->
            history.Close(statistics.Totals, at)

            if not (Volatile.Read &wantsDelivery) then
                Volatile.Write(&wantsDelivery, true)

    member _.Retry() = counts.Retry()

    /// An attempt has ended: its copy may go on.
    member _.Attempted(outcome: TargetOutcome) =
        let status = TargetOutcome.status outcome |> ValueOption.defaultValue 0

        attemptsNow()
            .Of(
                {
                    Status = status
                    ErrorType = TargetOutcome.errorType outcome
                }
            )
            .Add
            1L

    member _.Totals: CopyTotals = counts.Totals

    /// How many attempts ended with which status (0 for none) and error type.
    member _.Attempts: seq<struct (struct (int * string) * int64)> =
        match Volatile.Read &attempts with
        | null -> Seq.empty
        | attempts ->
            attempts.All
            |> Seq.map (fun struct (label, count) ->
                struct (struct (label.Status, label.ErrorType), count.Value))
