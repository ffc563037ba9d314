namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Net
open System.Threading
open K8sReq.Core

/// One send of one copy to one target. Never throws and never redirects; ends within the timeouts it was made with,
/// and when it has ended nothing reads the request's memory any more. Nobody retries. What goes on from its end must
/// not block (see `SendObserver`).
type TargetClient = delegate of target: Target * request: CapturedRequest -> Sending

/// Addresses are the same objects, most of the time: those of the routing table.
[<Sealed>]
type private EndpointComparer() =
    static member val Instance = EndpointComparer()

    interface IEqualityComparer<struct (IPAddress * int)> with
        member _.Equals(struct (one, port), struct (other, otherPort)) =
            port = otherPort && (Object.ReferenceEquals(one, other) || one.Equals other)

        member _.GetHashCode(struct (address, port)) = address.GetHashCode() * 31 + port

/// The pools of connections that are made in one way.
[<Sealed>]
type private TargetPools
    (
        clock: TimeProvider,
        maxAge: TimeSpan,
        make: IPEndPoint -> ConnectionOwner -> TimeSpan -> TargetConnection,
        stop: CancellationToken
    ) =
    let pools =
        ConcurrentDictionary<struct (IPAddress * int), TargetPool> EndpointComparer.Instance

    member private them.Create(key: struct (IPAddress * int)) =
        let struct (address, port) = key
        let endpoint = IPEndPoint(address, port)

        TargetPool(
            clock,
            maxAge,
            (fun owner retiresAt -> make endpoint owner retiresAt),
            {
                Retired = fun pool -> pools.TryRemove(KeyValuePair(key, pool)) |> ignore
                Resend = fun attempt -> them.Send(key, attempt)
            }
        )

    member them.Send(key: struct (IPAddress * int), attempt: Attempt) : unit =
        let mutable isSent = false

        while not isSent do
            let mutable pool = Unchecked.defaultof<TargetPool>

            if not (pools.TryGetValue(key, &pool)) then
                pool <- pools.GetOrAdd(key, them.Create key)

            isSent <- pool.TrySend attempt

            if not isSent then
                // It has retired, and is about to say so.
                pools.TryRemove(KeyValuePair(key, pool)) |> ignore
            // The others may have been given up before this pool was there.
            elif stop.IsCancellationRequested then
                pool.Cancel()

    member _.Cancel() : unit =
        for pool in pools.Values do
            pool.Cancel()

    member _.Close() : unit =
        for pool in pools.Values do
            pool.Close()

module TargetClient =
    let private onSockets (clock: TimeProvider) (limits: ConnectionLimits) =
        fun (endpoint: IPEndPoint) (owner: ConnectionOwner) (retiresAt: TimeSpan) ->
            SocketTargetConnection(clock, limits.Timeouts, retiresAt, endpoint, owner) :> TargetConnection

    let private onLoop (clock: TimeProvider) (limits: ConnectionLimits) (loop: EventLoop) =
        fun (endpoint: IPEndPoint) (owner: ConnectionOwner) (retiresAt: TimeSpan) ->
            LoopTargetConnection(loop, clock, limits.Timeouts, retiresAt, endpoint, owner) :> TargetConnection

    let private keyOf (target: Target) = struct (target.Address, target.Port)

    let private attemptAt (clock: TimeProvider) (target: Target) (request: CapturedRequest) : Attempt =
        let endsBy =
            match target.Delivery.AttemptTimeout with
            | Some limit -> clock.GetElapsedTime 0L + limit
            | None -> TimeSpan.MaxValue

        Attempt(request, endsBy)

    // -1 where it is none of them. `Array.IndexOf` asks a comparer.
    let private indexOf (loops: EventLoop[]) (loop: EventLoop | null) : int =
        let mutable index = loops.Length - 1

        while index >= 0 && not (Object.ReferenceEquals(loops[index], loop)) do
            index <- index - 1

        index

    // Sends over the connections of the loop on which it is asked, so that a request and its copies stay there. What is asked
    // elsewhere goes to the same loop for each target, whose connections are used again there.
    let private sendOnLoops
        (loops: EventLoop[])
        (pools: TargetPools[])
        (target: Target)
        (attempt: Attempt)
        : unit =
        let key = keyOf target
        let index = indexOf loops EventLoop.Current

        if index >= 0 then
            pools[index].Send(key, attempt)
        else
            let index =
                int (uint32 (target.Address.GetHashCode() + target.Port) % uint32 loops.Length)

            loops[index].Post(fun () -> pools[index].Send(key, attempt))

    /// Sends over connections of its own, which are kept and shared among all sends. `stop` ends the sends that are under
    /// way, and all that come later. Disposing the second value closes the connections.
    let create
        (transport: Transport)
        (clock: TimeProvider)
        (limits: ConnectionLimits)
        (stop: CancellationToken)
        : TargetClient * IDisposable =
        let poolsOf make =
            TargetPools(clock, limits.MaxAge, make, stop)

        let pools =
            match transport with
            | Transport.Sockets -> [| poolsOf (onSockets clock limits) |]
            | Transport.Loops loops -> loops |> Array.map (onLoop clock limits >> poolsOf)

        // One registration for all sends: one for each would cost more than the rest of this.
        let stopping =
            stop.Register(fun () ->
                for pools in pools do
                    pools.Cancel())

        let client =
            TargetClient(fun target request ->
                if stop.IsCancellationRequested then
                    Sending.Ended SendResult.notTried
                else
                    let attempt = attemptAt clock target request

                    match transport with
                    | Transport.Sockets -> pools[0].Send(keyOf target, attempt)
                    | Transport.Loops loops -> sendOnLoops loops pools target attempt

                    attempt)

        client,
        {
            new IDisposable with
                member _.Dispose() =
                    stopping.Dispose()

                    for pools in pools do
                        pools.Close()
        }
