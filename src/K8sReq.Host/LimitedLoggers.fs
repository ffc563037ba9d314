namespace K8sReq.Host

open System
open System.Collections.Generic
open System.Threading
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

/// What the libraries log, the server above all, is written by what clients do: no more than so many lines of one kind in
/// so much time, and then how many more there were.
[<Sealed>]
type private LimitedLogger(inner: ILogger, clock: TimeProvider) =
    static let most = 5
    static let time = TimeSpan.FromSeconds 10.0

    // Guards `windows`.
    let gate = Lock()
    let windows = Dictionary<int, LogRateLimit>()

    let offer (event: EventId) =
        exclusively gate (fun () ->
            let window =
                match windows.TryGetValue event.Id with
                | true, window -> window
                | false, _ -> LogRateLimit.fresh

            let struct (next, isLogged, omitted) =
                LogRateLimit.offer most time (clock.GetElapsedTime 0L) window

            windows[event.Id] <- next
            struct (isLogged, omitted))

    interface ILogger with
        member _.BeginScope state = inner.BeginScope state
        member _.IsEnabled level = inner.IsEnabled level

        member _.Log(level, event, state, error, formatter) =
            if inner.IsEnabled level then
                let struct (isLogged, omitted) = offer event

                if omitted > 0L then
                    inner.Log(
                        level,
                        "{Count} like the next one not logged (limit: 5 per 10 s)",
                        Quantity.create "more line" omitted
                    )

                if isLogged then
                    inner.Log(level, event, state, error, formatter)

module LimitedLoggers =
    /// Loggers that write no more than so much, but for those of this program, which limit themselves.
    let create (clock: TimeProvider) (loggers: ILoggerFactory) : ILoggerFactory = {
        new ILoggerFactory with
            member _.AddProvider provider = loggers.AddProvider provider

            member _.CreateLogger name =
                let inner = loggers.CreateLogger name

                if name.StartsWith("k8sreq", StringComparison.Ordinal) then
                    inner
                else
                    LimitedLogger(inner, clock)

            // They are whose who made them.
            member _.Dispose() = ()
    }
