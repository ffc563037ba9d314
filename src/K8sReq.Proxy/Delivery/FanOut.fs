namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Told of the end of every copy, once: its lane, what came of it, and how long after it was accepted.
type CopyReport = CopyJob -> Lane -> CopyEnd -> TimeSpan -> unit

/// The copies of one request, on their way.
[<Sealed>]
type private Flight
    (services: DeliveryServices, job: CopyJob, report: CopyReport, release: unit -> unit, copies: int) =
    let mutable remaining = copies

    // Whatever it throws: the copy has ended, and the memory is given back after the last one.
    member private _.Ended(lane: Lane, outcome: TargetOutcome, attempts: int) =
        let duration =
            try
                services.Clock.GetElapsedTime job.AcceptedAt
            with error ->
                services.Unexpected error
                TimeSpan.Zero

        try
            report job lane (struct (outcome, attempts)) duration
        with error ->
            services.Unexpected error

        if Interlocked.Decrement &remaining = 0 then
            release ()

    // A copy whose way throws ends there.
    member private flight.Follow(lane: Lane, made: int, way: Async<CopyEnd>) = async {
        let! struct (outcome, attempts) = async {
            try
                return! way
            with error ->
                services.Unexpected error
                return struct (TargetOutcome.Faulted error.Message, made)
        }

        flight.Ended(lane, outcome, attempts)
    }

    member private flight.Finish(lane: Lane, span: AttemptSpan voption, result: SendResult) =
        // A first attempt begins when its copy is accepted.
        Delivery.attempted services job lane 1 job.AcceptedAt span result
        let made = if result.IsAttempt then 1 else 0

        match Delivery.afterAttempt services job lane made result with
        | Choice1Of2 outcome -> flight.Ended(lane, outcome, made)
        | Choice2Of2 later -> flight.Follow(lane, made, later) |> Async.Start

    /// The first attempt of a copy whose turn it is, without anything between here and the socket.
    member flight.Send(lane: Lane) =
        let span = Delivery.startSpan services job lane 1
        let sending = Delivery.trySend services job lane span
        let awaiter = sending.ConfigureAwait(false).GetAwaiter()

        if awaiter.IsCompleted then
            flight.Finish(lane, span, Delivery.resultOf sending)
        else
            awaiter.UnsafeOnCompleted(fun () -> flight.Finish(lane, span, Delivery.resultOf sending))

    /// A copy that has to wait for its turn.
    member flight.SendLater(struct (lane, _) as place: Place) =
        flight.Follow(lane, 0, Delivery.run services job place)
        // Until it waits it needs no other thread: `Async.Parallel` and `Async.Start` would wake one for every copy.
        |> Async.StartImmediate

module FanOut =
    let private isNow (struct (_, turn): Place) =
        turn.IsCompletedSuccessfully && turn.Result

    /// Delivers a copy from every place in parallel, reports each outcome once, and then, when nothing reads the
    /// request any more, calls `release`: the one place where the memory of a request that was accepted is given back.
    /// Goes on at once; must not throw, nor may `report`.
    ///
    /// A first attempt whose turn it is goes straight to the client. What waits, for its turn or between attempts, is
    /// `async`. Two copies cost 0.4 µs and 200 bytes here, and 10.6 µs and 5,736 bytes by `Async.Parallel`
    /// (`bench -- micro --filter *Copies*`), the waking of threads not counted.
    let start
        (services: DeliveryServices)
        (report: CopyReport)
        (release: unit -> unit)
        (job: CopyJob)
        (places: ResizeArray<Place>)
        : unit =
        let flight = Flight(services, job, report, release, places.Count)

        for struct (lane, _) as place in places do
            if isNow place then
                flight.Send lane
            else
                flight.SendLater place
