namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Brings the copies of a RequestClone that wait in the store back to its lane: in batches, as the lane has room and as they
/// are due. While other copies wait for the lane, those from the store have a quarter of its places at most.
[<Sealed>]
type BacklogFeeder
    (
        services: DeliveryServices,
        budget: BufferBudget,
        concurrency: int,
        // Told of a copy that has come into memory.
        loaded: unit -> unit,
        lane: Lane
    ) =
    static let batch = 256
    // Of bytes, in memory before they are sent.
    static let batchBytes = 4L * 1024L * 1024L
    // What was refused, for want of memory or because the store cannot be read, is asked for again after this time.
    static let again = TimeSpan.FromSeconds 1.0

    // Guards everything below: `ready` are copies that have come out of the store and not entered the lane; `active` are those
    // that have entered it and not ended.
    let gate = Lock()
    let ready = Queue<StoredCopy>()
    let mutable active = 0
    let mutable isLoading = false
    // A pump is to run, or runs; `isAgain`: it is to run once more. Two at a time would send one copy twice.
    let mutable isPumping = false
    let mutable isAgain = false
    let mutable timer: ITimer | null = null

    let clone = lane.Target.Clone

    let mostActive () =
        let load = lane.Load

        if load.Queued > 0 || load.Sending >= concurrency then
            max 1 (concurrency / 4)
        else
            concurrency

    let accepted (copy: StoredCopy) (release: unit -> unit) =
        let age = int64 (copy.Age.TotalSeconds * float services.Clock.TimestampFrequency)
        StoredCopy.accepted (services.Clock.GetTimestamp() - age) release copy

    let shelve (copy: StoredCopy) (release: unit -> unit) =
        let state = {
            CopyState.accepted with
                Attempts = copy.Attempts
        }

        services.Store.Shelved (accepted copy release) copy.Id state TimeSpan.Zero

    /// Something has changed: looks, soon, whether there is something to do. From any thread, with no lock held.
    member feeder.Nudge() : unit =
        let isIdle =
            exclusively gate (fun () ->
                let isIdle = not isPumping
                isPumping <- true
                isAgain <- not isIdle
                isIdle)

        if isIdle then
            ThreadPool.UnsafeQueueUserWorkItem((fun (it: BacklogFeeder) -> it.Pump()), feeder, false)
            |> ignore

    /// Whether it looks for something to do now.
    member _.IsPumping = exclusively gate (fun () -> isPumping)

    /// The same as `Nudge`, for what happens often.
    member feeder.NudgeIfWaiting() : unit =
        if
            exclusively gate (fun () -> ready.Count > 0)
            || (services.Store.Backlog clone).Copies > 0L
        then
            feeder.Nudge()

    member private feeder.NudgeAfter(time: TimeSpan) : unit =
        let time = TimerTime.atLeast time

        exclusively gate (fun () ->
            match timer with
            | null ->
                timer <-
                    services.Clock.CreateTimer(
                        (fun _ -> feeder.Nudge()),
                        null,
                        time,
                        Timeout.InfiniteTimeSpan
                    )
            | timer -> timer.Change(time, Timeout.InfiniteTimeSpan) |> ignore)

    member private feeder.Ended() : unit =
        exclusively gate (fun () -> active <- active - 1)
        feeder.Nudge()

    // False if the lane takes no more now.
    member private feeder.TrySend(copy: StoredCopy) : bool =
        match lane.TryEnter copy.Bytes with
        | LaneEntry.Entered turn ->
            exclusively gate (fun () -> active <- active + 1)
            loaded ()

            CopyDelivery(
                services,
                accepted copy (fun () -> budget.Return copy.Bytes),
                lane,
                copy.Id.Copy,
                copy.Attempts,
                fun _ -> feeder.Ended()
            )
                .Start
                turn

            true
        | LaneEntry.Full
        | LaneEntry.Retired -> false

    member private feeder.Load(most: int) : Task = task {
        let! copies = services.Store.Take clone most batchBytes

        let refused = ResizeArray<StoredCopy>()

        for copy in copies do
            if budget.TryTake copy.Bytes then
                exclusively gate (fun () -> ready.Enqueue copy)
            else
                refused.Add copy

        for copy in refused do
            shelve copy ignore

        exclusively gate (fun () -> isLoading <- false)

        if copies.IsEmpty || refused.Count > 0 then
            feeder.NudgeAfter again

        // Also where the lane has been retired meanwhile: what is ready goes back then.
        if copies.Length > refused.Count then
            feeder.Nudge()
    }

    member private feeder.Pump() : unit =
        let mutable isOver = false

        while not isOver do
            try
                feeder.PumpOnce()
            with error ->
                services.Unexpected error

            isOver <-
                exclusively gate (fun () ->
                    let isOver = not isAgain
                    isAgain <- false
                    isPumping <- not isOver
                    isOver)

    member private feeder.PumpOnce() : unit =
        if lane.Retired.IsCancellationRequested then
            let left =
                exclusively gate (fun () ->
                    let left = ready.ToArray()
                    ready.Clear()
                    left)

            for copy in left do
                shelve copy (fun () -> budget.Return copy.Bytes)

            match exclusively gate (fun () -> timer) with
            | null -> ()
            | timer -> timer.Dispose()
        else
            let mutable isOver = false

            while not isOver do
                let most = mostActive ()

                let next =
                    exclusively gate (fun () ->
                        if active < most && ready.Count > 0 then
                            ValueSome(ready.Peek())
                        else
                            ValueNone)

                match next with
                // One pump at a time: nobody else takes it meanwhile.
                | ValueSome copy when feeder.TrySend copy ->
                    exclusively gate (fun () -> ready.Dequeue() |> ignore)
                | ValueSome _
                | ValueNone -> isOver <- true

            feeder.LoadIfEmpty()

    member private feeder.LoadIfEmpty() : unit =
        let backlog = services.Store.Backlog clone

        if backlog.Copies > 0L then
            if backlog.Wait > TimeSpan.Zero then
                feeder.NudgeAfter backlog.Wait
            else
                let most = min batch (mostActive ())

                let isMine =
                    exclusively gate (fun () ->
                        if isLoading || ready.Count > 0 || active >= most then
                            false
                        else
                            isLoading <- true
                            true)

                if isMine then
                    feeder.Load batch |> ignore
