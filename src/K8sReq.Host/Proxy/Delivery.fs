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
    /// Ends the waits between attempts. What is being sent, the client ends.
    Stop: CancellationToken
}

/// A copy's place in a lane, and its turn (see `LaneEntry.Entered`).
type Place = (struct (Lane * Task<bool>))

/// The way of one copy through its lane: its turn, its attempts, and the waits between them.
module Delivery =
    let private faulted (error: exn) =
        SendResult.ofOutcome (TargetOutcome.Faulted(error.GetBaseException().Message))

    /// The first attempt of a copy whose turn it is. Whatever the client is: one that throws would hold its place for
    /// ever.
    let trySend (services: DeliveryServices) (request: CapturedRequest) (lane: Lane) : ValueTask<SendResult> =
        try
            services.Client lane.Target request
        with error ->
            ValueTask<SendResult>(faulted error)

    /// The result of a send that has ended.
    let resultOf (sending: ValueTask<SendResult>) : SendResult =
        try
            sending.GetAwaiter().GetResult()
        with error ->
            faulted error

    let private send services request lane = async {
        try
            return! (trySend services request lane).AsTask() |> Async.AwaitTask
        with error ->
            return faulted error
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

    /// What is to come after so many attempts, of which the last had this result: the copy's outcome, if it was the last
    /// one, and then the copy has left its lane; else a wait and further attempts.
    let rec afterAttempt
        (services: DeliveryServices)
        (request: CapturedRequest)
        (bytes: int64)
        (lane: Lane)
        (made: int)
        (result: SendResult)
        : Choice<TargetOutcome, Async<TargetOutcome>> =
        let retry = lane.Target.Delivery.Retry

        match RetryPolicy.next retry made (services.Jitter()) result.RetryAfter result.Outcome with
        | Some wait when lane.TryRest bytes ->
            Choice2Of2(
                async {
                    do! rest services lane wait
                    return! takeTurn services request bytes lane (made + 1) (lane.Wake bytes)
                }
            )
        // No further attempt, or no room to wait for it.
        | Some _
        | None ->
            lane.Leave()
            Choice1Of2 result.Outcome

    and private attempt services request bytes (lane: Lane) made = async {
        if made > 1 then
            services.Retrying lane.Target

        let! result = send services request lane

        match afterAttempt services request bytes lane made result with
        | Choice1Of2 outcome -> return outcome
        | Choice2Of2 later -> return! later
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
