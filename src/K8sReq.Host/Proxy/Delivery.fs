namespace K8sReq.Host.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// What copies are delivered with.
type DeliveryServices = {
    Client: TargetClient
    Clock: TimeProvider
    /// From 0 to 1, another one each time, from any thread.
    Jitter: unit -> float
    /// Called before each attempt after the first.
    Retrying: Target -> unit
    /// Ends the copies that are under way.
    Stop: CancellationToken
}

/// A copy's place in a lane, and its turn (see `LaneEntry.Entered`).
type Place = (struct (Lane * Task<bool>))

/// The way of one copy through its lane: its turn, its attempts, and the waits between them.
module Delivery =
    // Whatever the client is: one that throws would hold its place for ever.
    let private send (services: DeliveryServices) request (lane: Lane) = async {
        try
            return! (services.Client lane.Target request).AsTask() |> Async.AwaitTask
        with error ->
            return SendResult.ofOutcome (TargetOutcome.Faulted(error.GetBaseException().Message))
    }

    // Ends early where going on is pointless: what comes after finds that out.
    let private rest (services: DeliveryServices) (lane: Lane) (time: TimeSpan) = async {
        use ended =
            CancellationTokenSource.CreateLinkedTokenSource(services.Stop, lane.Retired)

        try
            do! Task.Delay(time, services.Clock, ended.Token) |> Async.AwaitTask
        with :? OperationCanceledException ->
            ()
    }

    let rec private attempt services request bytes (lane: Lane) made = async {
        if made > 1 then
            services.Retrying lane.Target

        let! result = send services request lane
        let retry = lane.Target.Delivery.Retry

        match RetryPolicy.next retry made (services.Jitter()) result.RetryAfter result.Outcome with
        | Some wait when lane.TryRest bytes ->
            do! rest services lane wait
            return! takeTurn services request bytes lane (made + 1) (lane.Wake bytes)
        // No further attempt, or no room to wait for it.
        | Some _
        | None ->
            lane.Leave()
            return result.Outcome
    }

    and private takeTurn services request bytes lane made entry = async {
        match entry with
        | LaneEntry.Entered turn ->
            let! isMyTurn = Async.AwaitTask turn

            if isMyTurn then
                return! attempt services request bytes lane made
            else
                return TargetOutcome.Cancelled
        | LaneEntry.Full
        | LaneEntry.Retired -> return TargetOutcome.Cancelled
    }

    /// Sends the copy when its turn comes, and again for as long as its target's policy says so. `bytes` is what it
    /// weighs in its lane. Never throws; when it has ended, nothing reads the request any more.
    let run
        (services: DeliveryServices)
        (request: CapturedRequest)
        (bytes: int64)
        (struct (lane, turn): Place)
        : Async<TargetOutcome> =
        takeTurn services request bytes lane 1 (LaneEntry.Entered turn)
