namespace K8sReq.Host.Telemetry

open System.Threading
open K8sReq.Core

/// What has become of one RequestClone's copies since the process began. From any thread.
[<Sealed>]
type CloneStatistics(clone: ObjectKey) =
    let accepted = Counter()
    let delivered = Counter()
    let failed = Counter()
    let dropped = Counter()
    let retries = Counter()
    // Of ten thousand RequestClones few may ever get a request.
    let mutable attempts: ByLabel<struct (int * string), Counter> | null = null

    let attemptsNow () =
        match Volatile.Read &attempts with
        | null ->
            Interlocked.CompareExchange(&attempts, ByLabel(fun () -> Counter()), null)
            |> ignore

            nonNull (Volatile.Read &attempts)
        | made -> made

    member _.Clone = clone
    member _.Accept() = accepted.Add 1L

    /// A copy has ended, for good.
    member _.End(outcome: TargetOutcome) =
        (if TargetOutcome.isDelivered outcome then delivered
         elif TargetOutcome.isDropped outcome then dropped
         else failed)
            .Add
            1L

    member _.Retry() = retries.Add 1L

    /// An attempt has ended: its copy may go on.
    member _.Attempted(outcome: TargetOutcome) =
        let status = TargetOutcome.status outcome |> ValueOption.defaultValue 0
        attemptsNow().Of(struct (status, TargetOutcome.errorType outcome)).Add 1L

    /// Read one after the other, each end before what was accepted: what is pending is never less than nothing.
    member _.Totals: CopyTotals =
        let delivered, failed, dropped, retries =
            delivered.Value, failed.Value, dropped.Value, retries.Value

        {
            Accepted = accepted.Value
            Delivered = delivered
            Failed = failed
            Dropped = dropped
            Retries = retries
        }

    /// How many attempts ended with which status (0 for none) and error type.
    member _.Attempts: seq<struct (struct (int * string) * int64)> =
        match Volatile.Read &attempts with
        | null -> Seq.empty
        | attempts -> attempts.All |> Seq.map (fun struct (key, count) -> struct (key, count.Value))
