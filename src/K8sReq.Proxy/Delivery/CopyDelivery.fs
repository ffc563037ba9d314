namespace K8sReq.Proxy

open System
open System.Buffers
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// One copy on its way: does what `DeliveryStep` says, and tells it what came of that. It holds a place in a lane's books
/// from its acceptance to its end. One thread at a time runs it: whatever it waits for goes on here.
[<Sealed>]
type CopyDelivery
    (
        services: DeliveryServices,
        request: AcceptedRequest,
        lane: Lane,
        copy: int,
        // Attempts before, of a copy out of the store.
        attempts: int,
        ended: CopyEnd -> unit
    ) =
    inherit SendObserver()

    // All of it belongs to the one thread that runs the copy.
    let mutable state =
        match request.Durable with
        | null -> DeliveryStep.initial
        | _ -> {
            DeliveryStep.initial with
                IsDurable = request.IsDurable copy
                Copy = {
                    CopyState.accepted with
                        Attempts = attempts
                }
          }

    let mutable holdsSlot = false
    let mutable began = 0L
    let mutable span: AttemptSpan | null = null
    // What is sent in place of the request's own bytes, until the attempt has ended.
    let mutable piece: byte[] | null = null

    let faulted (error: exn) =
        SendResult.ofOutcome (TargetOutcome.Faulted(error.GetBaseException().Message))

    // What observes copies may throw: no copy goes without its end for that.
    let guarded (byDefault: 'T) (ask: unit -> 'T) : 'T =
        try
            ask ()
        with error ->
            services.Unexpected error
            byDefault

    let idOf () = {
        Request = request.Number
        Copy = copy
    }

    // Where the clock fails, no time has passed.
    let now () : int64 =
        try
            services.Clock.GetTimestamp()
        with error ->
            services.Unexpected error
            request.AcceptedAt

    let elapsed (since: int64) (until: int64) : TimeSpan =
        try
            services.Clock.GetElapsedTime(since, until)
        with error ->
            services.Unexpected error
            TimeSpan.Zero

    // MaxValue where it does not expire.
    let left () : TimeSpan =
        match lane.Target.Delivery.ExpireAfter with
        | Some time -> time - elapsed request.AcceptedAt (now ())
        | None -> TimeSpan.MaxValue

    let isOver () : bool = (left ()).Ticks <= 0L

    let startSpan (number: int) : AttemptSpan | null =
        match request.Trace with
        | null -> null
        | trace when trace.IsRecorded ->
            try
                trace.StartAttempt(request.Request.Method, lane.Target, number)
            with error ->
                services.Unexpected error
                null
        | _ -> null

    let changeOf (target: Target) (number: int) : HeadChange =
        let filtered = HeadEdit.changeOf target.Matches target.Edit request.Request

        let identified =
            // One that was accepted before that was asked for has no id.
            if target.Delivery.IsIdentified && request.RequestId <> Guid.Empty then
                HeadChange.andThen (CopyIdentity.change request.RequestId number) filtered
            else
                filtered

        match span with
        | null -> identified
        | span -> HeadChange.andThen (HeadChange.adding span.Fields) identified

    // Another head for each attempt takes no memory that the processor's caches do not have: that would take as long as sending.
    let asSent (target: Target) (number: int) : CapturedRequest =
        let change = changeOf target number

        if HeadChange.isNone change then
            request.Request
        else
            let rented = ArrayPool.Shared.Rent(CapturedRequest.roomFor change request.Request)

            piece <- rented
            CapturedRequest.withHeadIn rented change request.Request

    // Whatever the client is: one that throws would hold its slot for ever. It may have kept the request then, whose memory nobody
    // else may have.
    let send (number: int) : Sending =
        try
            // It may be another one a moment later.
            let target = lane.Target
            services.Client.Invoke(target, asSent target number)
        with error ->
            piece <- null
            Sending.Ended(faulted error)

    let giveBack () =
        match piece with
        | null -> ()
        | rented ->
            piece <- null
            ArrayPool.Shared.Return rented

    let endOf (result: SendResult) : DeliverySignal =
        if result.IsAttempt && TargetOutcome.isDelivered result.Outcome then
            DeliverySignal.Delivered result.Outcome
        else
            DeliverySignal.AttemptEnded {
                Outcome = result.Outcome
                IsAttempt = result.IsAttempt
                RetryAfter = result.RetryAfter
                Jitter = guarded 1.0 services.Jitter
                MayRetry = not (lane.Retired.IsCancellationRequested || services.Stop.IsCancellationRequested)
                Left = left ()
            }

    let attempted (result: SendResult) (at: int64) =
        try
            match span with
            | null -> ()
            | span -> span.End result.Outcome

            if result.IsAttempt then
                services.Observer.Attempted
                    request
                    lane
                    (state.Copy.Attempts + 1)
                    result.Outcome
                    (services.Clock.GetElapsedTime(began, at))
        with error ->
            services.Unexpected error

    // Ends early where going on is pointless: what comes after finds that out.
    let wait (time: TimeSpan) : Task = task {
        use over =
            CancellationTokenSource.CreateLinkedTokenSource(services.Stop, lane.Retired)

        try
            do! Task.Delay(time, services.Clock, over.Token)
        with
        | :? OperationCanceledException -> ()
        // The copy counts in its lane: whatever happens, it goes on.
        | error -> services.Unexpected error
    }

    /// Goes on with what has come about for the copy at this time. The clock is read once for both an attempt and the copy that ends
    /// with it: that takes as long as two locks.
    member private copy.Handle(signal: DeliverySignal, at: int64) : unit =
        let struct (next, action) =
            DeliveryStep.step lane.Target.Delivery.Retry state signal

        state <- next

        match action with
        | DeliveryAction.Nothing -> ()
        | DeliveryAction.Send number -> copy.Send number
        | DeliveryAction.Park time -> copy.Park(time, at)
        | DeliveryAction.Queue -> copy.AwaitTurn(lane.Unpark request.Bytes)
        | DeliveryAction.End outcome -> copy.End(outcome, at)
        | DeliveryAction.Shelve wait -> copy.Shelve wait

    member private copy.TurnCame() =
        holdsSlot <- true

        if isOver () then
            copy.Handle(DeliverySignal.Expired, now ())
        else
            copy.Handle(DeliverySignal.TurnCame, began)

    member private copy.AwaitTurn(entry: LaneEntry) : unit =
        match entry with
        | LaneEntry.Entered turn -> copy.Await turn
        | LaneEntry.Full
        | LaneEntry.Retired -> copy.Handle(DeliverySignal.TurnLost, now ())

    // Goes on where the turn is given: what it begins runs on the thread that gives turns, one at a time.
    member private copy.Await(turn: Task<bool>) : unit =
        if turn.IsCompleted then
            copy.TurnEnded turn.Result
        else
            turn.GetAwaiter().UnsafeOnCompleted(fun () -> copy.TurnEnded turn.Result)

    member private copy.TurnEnded(isSent: bool) : unit =
        // A first attempt that had to wait begins now.
        began <- now ()

        if isSent then
            copy.TurnCame()
        else
            copy.Handle(DeliverySignal.TurnLost, began)

    /// Others may have it by now.
    member private copy.Send(number: int) : unit =
        if state.IsDurable then
            let asking =
                try
                    services.Store.MaySend request services.Stop
                with error ->
                    ValueTask<bool>(Task.FromException<bool> error)

            if asking.IsCompleted then
                copy.SendIf(number, asking, false)
            else
                asking
                    .ConfigureAwait(false)
                    .GetAwaiter()
                    .UnsafeOnCompleted(fun () -> copy.SendIf(number, asking, true))
        else
            copy.SendNow number

    /// `hasWaited`: its time may be over by now, or its target routed no more.
    member private copy.SendIf(number: int, asked: ValueTask<bool>, hasWaited: bool) : unit =
        let signal =
            try
                if not (asked.GetAwaiter().GetResult()) then
                    ValueSome DeliverySignal.TakenOver
                elif hasWaited && isOver () then
                    ValueSome DeliverySignal.Expired
                elif hasWaited && lane.Retired.IsCancellationRequested then
                    ValueSome(endOf SendResult.notTried)
                else
                    ValueNone
            with
            | :? OperationCanceledException -> ValueSome(endOf SendResult.notTried)
            | error ->
                services.Unexpected error
                ValueSome(endOf SendResult.notTried)

        match signal with
        | ValueNone -> copy.SendNow number
        | ValueSome signal -> copy.Handle(signal, now ())

    member private copy.SendNow(number: int) : unit =
        span <- startSpan number
        (send number).Tell copy

    override copy.Sent(result: SendResult) : unit =
        giveBack ()
        let at = now ()
        attempted result at
        copy.Handle(endOf result, at)

    member private copy.Park(time: TimeSpan, at: int64) : unit =
        if lane.TryPark request.Bytes then
            holdsSlot <- false
            services.Store.Parked request (idOf ()) state.Copy time
            copy.WaitForBackoff time |> ignore
        else
            copy.Handle(DeliverySignal.ParkRefused time, at)

    member private copy.WaitForBackoff(time: TimeSpan) : Task = task {
        do! wait time

        // What a tenant's failing targets cost the others is bounded.
        let pace = guarded TimeSpan.Zero (fun () -> services.PaceRetry lane)

        if pace > TimeSpan.Zero then
            do! wait pace

        copy.Handle(DeliverySignal.BackoffEnded, now ())
    }

    member private _.LeaveSlot() : unit =
        if holdsSlot then
            holdsSlot <- false
            lane.Leave request.Bytes

    member private copy.Shelve(wait: TimeSpan) : unit =
        copy.LeaveSlot()
        services.Store.Shelved request (idOf ()) state.Copy wait

        try
            services.Observer.Shelved request lane
        with error ->
            services.Unexpected error

        ended (struct (TargetOutcome.Cancelled, state.Copy.Attempts))

    member private copy.End(outcome: TargetOutcome, at: int64) : unit =
        copy.LeaveSlot()

        let attempts = state.Copy.Attempts
        let duration = elapsed request.AcceptedAt at

        try
            services.Observer.Ended request lane (struct (outcome, attempts)) duration
        with error ->
            services.Unexpected error

        match lane.Target.Delivery.DeadLetterKeep with
        | Some keep when state.IsDurable && keep > TimeSpan.Zero && (DeadCause.ofOutcome outcome).IsSome ->
            services.Store.Died
                request
                (idOf ())
                outcome
                attempts
                keep
                lane.Target.Delivery.DeadLetterSink.IsSome
        | _ -> services.Store.Ended request (idOf ()) outcome

        ended (struct (outcome, attempts))

    /// Begins: with the first attempt at once if the turn has come already, without anything between here and the socket.
    member copy.Start(turn: Task<bool>) : unit =
        if turn.IsCompletedSuccessfully && turn.Result then
            // A first attempt begins when its copy is accepted.
            began <- request.AcceptedAt
            copy.TurnCame()
        else
            copy.Await turn
