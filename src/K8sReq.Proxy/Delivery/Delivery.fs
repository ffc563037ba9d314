namespace K8sReq.Proxy

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
    /// Called when an attempt after the first has ended.
    Retried: Lane -> unit
    /// Called when an attempt has ended that took so long.
    Attempted: Lane -> CapturedRequest -> SendResult -> TimeSpan -> unit
    /// Told of what should never happen: what observes copies has thrown. The copies go on.
    Unexpected: exn -> unit
    /// How long an attempt after the first that could begin now is to wait for the sake of others (see `RetryPaces`).
    PaceRetry: Lane -> TimeSpan
    /// Ends the waits between attempts. What is being sent, the client ends.
    Stop: CancellationToken
}

/// What the copies of one request have in common.
[<NoEquality; NoComparison>]
type CopyJob = {
    Request: CapturedRequest
    /// What a copy weighs in its lane.
    Bytes: int64
    /// When the copies were accepted, on the clock.
    AcceptedAt: int64
    Trace: RequestTrace voption
}

/// How a copy has ended, after how many attempts.
type CopyEnd = (struct (TargetOutcome * int))

/// A copy's place in a lane, and its turn (see `LaneEntry.Entered`).
type Place = (struct (Lane * Task<bool>))

/// The way of one copy through its lane: its turn, its attempts, and the waits between them.
module Delivery =
    let private faulted (error: exn) =
        SendResult.ofOutcome (TargetOutcome.Faulted(error.GetBaseException().Message))

    /// The span of the attempt of this number, which begins now; None where nobody is told of it.
    let startSpan
        (services: DeliveryServices)
        (job: CopyJob)
        (lane: Lane)
        (number: int)
        : AttemptSpan voption =
        match job.Trace with
        | ValueSome trace when trace.IsRecorded ->
            try
                ValueSome(trace.StartAttempt(job.Request.Method, lane.Target, number))
            with error ->
                services.Unexpected error
                ValueNone
        | _ -> ValueNone

    /// The first attempt of a copy whose turn it is. Whatever the client is: one that throws would hold its place for
    /// ever.
    let trySend
        (services: DeliveryServices)
        (job: CopyJob)
        (lane: Lane)
        (span: AttemptSpan voption)
        : ValueTask<SendResult> =
        try
            match span with
            | ValueNone -> services.Client lane.Target job.Request
            | ValueSome span ->
                services.Client lane.Target (CapturedRequest.withFields span.Fields job.Request)
        with error ->
            ValueTask<SendResult>(faulted error)

    /// The result of a send that has ended.
    let resultOf (sending: ValueTask<SendResult>) : SendResult =
        try
            sending.GetAwaiter().GetResult()
        with error ->
            faulted error

    /// The attempt of this number, which began at this time, has ended. Counts it, if it was one.
    let attempted
        (services: DeliveryServices)
        (job: CopyJob)
        (lane: Lane)
        (number: int)
        (began: int64)
        (span: AttemptSpan voption)
        (result: SendResult)
        : unit =
        try
            match span with
            | ValueSome span -> span.End result.Outcome
            | ValueNone -> ()

            if result.IsAttempt then
                lane.Statistics.Attempted result.Outcome

                if number > 1 then
                    services.Retried lane

                services.Attempted lane job.Request result (services.Clock.GetElapsedTime began)
        with error ->
            services.Unexpected error

    // A clock that throws: no send fails for want of the time that it took.
    let private now (services: DeliveryServices) : int64 =
        try
            services.Clock.GetTimestamp()
        with error ->
            services.Unexpected error
            0L

    let private send services (job: CopyJob) lane number = async {
        let began = now services
        let span = startSpan services job lane number

        let! result = async {
            try
                return! (trySend services job lane span).AsTask() |> Async.AwaitTask
            with error ->
                return faulted error
        }

        attempted services job lane number began span result
        return result
    }

    let private paceOf (services: DeliveryServices) (lane: Lane) =
        try
            services.PaceRetry lane
        with error ->
            services.Unexpected error
            TimeSpan.Zero

    // Goes on where the turn is given: what it begins is done by whoever gives turns, one at a time.
    let private turnOf (turn: Task<bool>) : Async<bool> =
        Async.FromContinuations(fun (proceed, _, _) ->
            if turn.IsCompleted then
                proceed turn.Result
            else
                turn.GetAwaiter().UnsafeOnCompleted(fun () -> proceed turn.Result))

    // Ends early where going on is pointless: what comes after finds that out.
    let private rest (services: DeliveryServices) (lane: Lane) (time: TimeSpan) = async {
        use ended =
            CancellationTokenSource.CreateLinkedTokenSource(services.Stop, lane.Retired)

        try
            do! Task.Delay(time, services.Clock, ended.Token) |> Async.AwaitTask
        with
        | :? OperationCanceledException -> ()
        // The copy's bytes count in its lane: whatever happens, its turn is asked for and they are given back.
        | error -> services.Unexpected error
    }

    // What comes next; nothing if what says it throws.
    let private nextWait (services: DeliveryServices) (lane: Lane) (made: int) (result: SendResult) =
        try
            RetryDecision.next
                lane.Target.Delivery.Retry
                made
                (services.Jitter())
                result.RetryAfter
                result.Outcome
        with error ->
            services.Unexpected error
            None

    /// What is to come after so many attempts, of which the last had this result: the copy's outcome, if it was the last
    /// one, and then the copy has left its lane; else a wait and further attempts.
    let rec afterAttempt
        (services: DeliveryServices)
        (job: CopyJob)
        (lane: Lane)
        (made: int)
        (result: SendResult)
        : Choice<TargetOutcome, Async<CopyEnd>> =
        match nextWait services lane made result with
        | Some _ when lane.Retired.IsCancellationRequested || services.Stop.IsCancellationRequested ->
            lane.Leave job.Bytes
            Choice1Of2 TargetOutcome.Cancelled
        | Some wait when lane.TryRest job.Bytes ->
            Choice2Of2(
                async {
                    do! rest services lane wait
                    let pace = paceOf services lane

                    if pace > TimeSpan.Zero then
                        do! rest services lane pace

                    return! takeTurn services job lane (made + 1) (lane.Wake job.Bytes)
                }
            )
        | Some _ ->
            lane.Leave job.Bytes
            Choice1Of2(TargetOutcome.NoRoomToRetry result.Outcome)
        | None ->
            lane.Leave job.Bytes
            Choice1Of2 result.Outcome

    and private attempt services job (lane: Lane) number = async {
        let! result = send services job lane number
        let made = if result.IsAttempt then number else number - 1

        match afterAttempt services job lane made result with
        | Choice1Of2 outcome -> return struct (outcome, made)
        | Choice2Of2 later -> return! later
    }

    and private takeTurn services job lane number entry = async {
        let givenUp = struct (TargetOutcome.Cancelled, number - 1)

        match entry with
        | LaneEntry.Entered turn ->
            let! isMyTurn = turnOf turn

            if isMyTurn then
                return! attempt services job lane number
            else
                return givenUp
        | LaneEntry.Full
        | LaneEntry.Retired -> return givenUp
    }

    /// Sends the copy when its turn comes, and again for as long as its target's policy says so. Never throws; when it
    /// has ended, nothing reads the request any more.
    let run (services: DeliveryServices) (job: CopyJob) (struct (lane, turn): Place) : Async<CopyEnd> =
        takeTurn services job lane 1 (LaneEntry.Entered turn)
