namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Net
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// One send of one copy to one target. Never throws and never redirects; ends within the timeouts it was made with,
/// and when it has ended nothing reads the request's memory any more. Nobody retries. What goes on from its end must
/// not block (see `Attempt`).
type TargetClient = Target -> CapturedRequest -> ValueTask<SendResult>

module TargetClient =
    /// Sends over connections of its own, which are kept and shared among all sends. `stop` ends the sends that are under
    /// way, and all that come later. Disposing the second value closes the connections.
    let create
        (clock: TimeProvider)
        (limits: ConnectionLimits)
        (stop: CancellationToken)
        : TargetClient * IDisposable =
        let pools = ConcurrentDictionary<struct (IPAddress * int), TargetPool>()

        // A pool and what sends over pools know each other.
        let resend = ref (fun (_: struct (IPAddress * int)) (_: Attempt) -> ())

        let createPool =
            Func<_, _>(fun (struct (address, port) as key: struct (IPAddress * int)) ->
                TargetPool(
                    clock,
                    limits,
                    IPEndPoint(address, port),
                    {
                        Retired = fun pool -> pools.TryRemove(KeyValuePair(key, pool)) |> ignore
                        Resend = fun attempt -> resend.Value key attempt
                    }
                ))

        let send (key: struct (IPAddress * int)) (attempt: Attempt) : unit =
            let mutable isSent = false

            while not isSent do
                let pool = pools.GetOrAdd(key, createPool)
                isSent <- pool.TrySend attempt

                if not isSent then
                    // It has retired, and is about to say so.
                    pools.TryRemove(KeyValuePair(key, pool)) |> ignore
                // The others may have been given up before this pool was there.
                elif stop.IsCancellationRequested then
                    pool.Cancel()

        resend.Value <- send

        // One registration for all sends: one for each would cost more than the rest of this.
        let stopping =
            stop.Register(fun () ->
                for pool in pools.Values do
                    pool.Cancel())

        let client: TargetClient =
            fun target request ->
                if stop.IsCancellationRequested then
                    ValueTask<SendResult> SendResult.notTried
                else
                    let endsBy =
                        match target.Delivery.AttemptTimeout with
                        | Some limit -> clock.GetElapsedTime 0L + limit
                        | None -> TimeSpan.MaxValue

                    let attempt = Attempt(request, endsBy)
                    send (struct (target.Address, target.Port)) attempt
                    attempt.Result

        client,
        {
            new IDisposable with
                member _.Dispose() =
                    stopping.Dispose()

                    for pool in pools.Values do
                        pool.Close()
        }
