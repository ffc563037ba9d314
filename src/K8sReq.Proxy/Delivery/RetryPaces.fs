namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Runtime.CompilerServices
open K8sReq.Core

/// How fast attempts after the first follow one another, for each namespace: what a tenant's failing targets cost is bounded,
/// however many RequestClones with however many retries it has. From many threads at once.
[<Sealed>]
type RetryPaces(clock: TimeProvider, perSecond: int) =
    // A tenth of a second's worth may come at once.
    let burst = max 1 (perSecond / 10)
    let paces = ConcurrentDictionary<string, StrongBox<Pace>>()

    /// How long the next attempt of a RequestClone in this namespace has to wait. It holds its place meanwhile.
    member _.Take(ns: string) : TimeSpan =
        let pace = paces.GetOrAdd(ns, (fun _ -> StrongBox Pace.fresh))

        lock pace (fun () ->
            let struct (next, wait) =
                Pace.take perSecond burst (clock.GetElapsedTime 0L) pace.Value

            pace.Value <- next
            wait)
