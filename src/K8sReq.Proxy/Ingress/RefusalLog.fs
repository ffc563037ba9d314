namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Threading
open Microsoft.Extensions.Logging
open K8sReq.Core

/// Logs at debug why requests were refused, so many lines for a status in a time, and then how many were left out. From any
/// thread.
[<Sealed>]
type RefusalLog(logger: ILogger, clock: TimeProvider) =
    static let mostLines = 20
    static let window = TimeSpan.FromSeconds 10.0

    // Guards `windows`.
    let gate = Lock()
    // By status: there are few.
    let windows = Dictionary<int, LogRateLimit>()

    let offer (status: int) =
        exclusively gate (fun () ->
            let before =
                match windows.TryGetValue status with
                | true, window -> window
                | false, _ -> LogRateLimit.fresh

            let struct (next, isLogged, omitted) =
                LogRateLimit.offer mostLines window (clock.GetElapsedTime 0L) before

            windows[status] <- next
            struct (isLogged, omitted))

    /// Whether anybody reads what is told.
    member _.IsOn = logger.IsEnabled LogLevel.Debug

    /// A request for this host (empty if it is not known) was answered with this status for this reason.
    member log.Tell(status: int, reason: string, host: string) : unit =
        if log.IsOn then
            let struct (isLogged, omitted) = offer status

            if omitted > 0L then
                ProxyLog.refusalsOmitted logger omitted status

            if isLogged then
                ProxyLog.refused logger status host reason
