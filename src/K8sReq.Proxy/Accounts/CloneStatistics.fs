namespace K8sReq.Proxy

open System
open System.Threading
open K8sReq.Core

/// What has become of one RequestClone's copies since the process began. From any thread.
[<Sealed>]
type CloneStatistics(clone: ObjectKey) =
    let accepted = Counter()
    let recovered = Counter()
    let replayed = Counter()
    let delivered = Counter()
    let failed = Counter()
    let dropped = Counter()
    let expired = Counter()
    let takenOver = Counter()
    let retries = Counter()
    // Of ten thousand RequestClones few may ever get a request.
    let mutable attempts: ByLabel<struct (int * string), Counter> | null = null
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

    let historyNow () =
        match Volatile.Read &history with
        | null ->
            Interlocked.CompareExchange(&history, CopyHistory(), null) |> ignore
            nonNull (Volatile.Read &history)
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

    member _.Clone = clone
    member _.Accept() = accepted.Add 1L
    /// So many copies were found in the journal.
    member _.Recover(copies: int64) = recovered.Add copies
    /// So many dead letters are copies again.
    member _.Replay(copies: int64) = replayed.Add copies

    /// So many copies were given up that waited in the journal.
    member _.Drop(copies: int64) =
        historyNow () |> ignore
        dropped.Add copies

    /// So many copies that were found in the journal have failed.
    member _.Fail(copies: int64) =
        historyNow () |> ignore
        failed.Add copies

    /// So many copies that waited in the journal are another replica's now.
    member _.TakeOver(copies: int64) = takenOver.Add copies

    /// A copy has ended, for good, so long after it was accepted.
    member _.End(outcome: TargetOutcome, duration: TimeSpan) =
        let history = historyNow ()

        if TargetOutcome.isDelivered outcome then
            delivered.Add 1L
            history.Record duration
        elif TargetOutcome.isDropped outcome then
            dropped.Add 1L
        elif TargetOutcome.isExpired outcome then
            expired.Add 1L
        elif TargetOutcome.isTakenOver outcome then
            takenOver.Add 1L
        else
            failed.Add 1L

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

    member _.Retry() = retries.Add 1L

    /// An attempt has ended: its copy may go on.
    member _.Attempted(outcome: TargetOutcome) =
        let status = TargetOutcome.status outcome |> ValueOption.defaultValue 0
        attemptsNow().Of(struct (status, TargetOutcome.errorType outcome)).Add 1L

    /// Read one after the other, each end before what was accepted: what is pending is never less than nothing.
    member _.Totals: CopyTotals =
        let delivered, failed, dropped, expired, takenOver, retries =
            delivered.Value, failed.Value, dropped.Value, expired.Value, takenOver.Value, retries.Value

        {
            Accepted = accepted.Value
            Recovered = recovered.Value
            Replayed = replayed.Value
            Delivered = delivered
            Failed = failed
            Dropped = dropped
            Expired = expired
            TakenOver = takenOver
            Retries = retries
        }

    /// How many attempts ended with which status (0 for none) and error type.
    member _.Attempts: seq<struct (struct (int * string) * int64)> =
        match Volatile.Read &attempts with
        | null -> Seq.empty
        | attempts -> attempts.All |> Seq.map (fun struct (key, count) -> struct (key, count.Value))
