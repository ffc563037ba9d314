namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Runtime.CompilerServices
open System.Threading
open Microsoft.Extensions.Logging
open K8sReq.Core

/// Logs copies that were not delivered, so many lines for a RequestClone in a time, and then how many were left out. From
/// any thread; whatever happens, nobody waits.
[<Sealed>]
type FailureLog(logger: ILogger, clock: TimeProvider) =
    static let mostLines = 5
    static let window = TimeSpan.FromSeconds 10.0

    let windows = ConcurrentDictionary<ObjectKey, StrongBox<LogRateLimit>>()
    let now () = clock.GetElapsedTime 0L

    let tellOmitted (clone: ObjectKey) (count: int64) =
        if count > 0L then
            ProxyLog.failuresOmitted logger (string clone) count

    // A window whose time is over is of no use any more. A caller that has found it meanwhile looks again: see `tryOffer`.
    let flush (isLast: bool) : unit =
        for KeyValue(clone, box) in windows do
            let omitted =
                lock box (fun () ->
                    let time = if isLast then TimeSpan.MaxValue else now ()
                    let struct (next, omitted) = LogRateLimit.flush window time box.Value
                    box.Value <- next

                    if next.Said = 0 then
                        windows.TryRemove(KeyValuePair(clone, box)) |> ignore

                    omitted)

            tellOmitted clone omitted

    // None if the window was removed just now.
    let tryOffer (clone: ObjectKey) : struct (bool * int64) voption =
        let box = windows.GetOrAdd(clone, fun _ -> StrongBox LogRateLimit.fresh)

        lock box (fun () ->
            match windows.TryGetValue clone with
            | true, current when Object.ReferenceEquals(current, box) ->
                let struct (next, says, omitted) =
                    LogRateLimit.offer mostLines window (now ()) box.Value

                box.Value <- next
                ValueSome(struct (says, omitted))
            | _ -> ValueNone)

    let onTime (_: obj | null) : unit = flush false
    let timer = clock.CreateTimer(TimerCallback onTime, windows, window, window)

    member _.Tell(failure: CopyFailure) : unit =
        let target = failure.Target

        if logger.IsEnabled LogLevel.Warning then
            let mutable offered = ValueNone

            while offered.IsNone do
                offered <- tryOffer target.Clone

            let struct (says, omitted) = offered.Value
            tellOmitted target.Clone omitted

            if says then
                ProxyLog.copyFailed
                    logger
                    (string target.Clone)
                    target.Endpoint
                    (TargetOutcome.describe failure.Outcome)
                    failure.Attempts
                    failure.Duration
                    failure.TraceId

    interface IDisposable with
        member _.Dispose() =
            timer.Dispose()
            flush true
