namespace K8sReq.Journal

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// Keeps durable copies in a journal, and the others in memory. What was acknowledged survives the process.
[<Sealed>]
type JournalStore
    (
        monotonic: TimeProvider,
        engine: JournalEngine,
        options: JournalOptions,
        events: JournalEvents,
        // Told on the journal's thread of so many dead letters of a RequestClone that are copies again, before any of them can
        // be sent.
        replayed: ObjectKey -> int64 -> unit
    ) =
    inherit CopyStore()

    // A wait in memory that is longer is worth writing down how many attempts there were: after a crash they count.
    let longWait = TimeSpan.FromSeconds 5.0
    let usage = JournalUsage options.Limit
    let letters = DeadLetterUsage()
    let clock = JournalClock monotonic
    let writer = new JournalWriter(engine, options, clock, usage, letters, events)

    let lookAfterOthers () =
        if engine.Shared.IsSome then
            writer.Post JournalWork.Upkeep

    let upkeep =
        engine.Shared
        |> ValueOption.map (fun shared ->
            new PeriodicWork(
                monotonic,
                shared.UpkeepInterval,
                fun () ->
                    lookAfterOthers ()
                    Task.CompletedTask
            ))

    // Requests that have none but copies in memory have numbers too, from the other end.
    let mutable lastInMemory = 0L
    let mutable last = 0L

    let keptInMemory = ValueTask<bool> true

    let nextNumber () =
        // The file's own numbers begin behind those that it has.
        if Volatile.Read &last = 0L then
            Interlocked.CompareExchange(&last, writer.LastNumber, 0L) |> ignore

        Interlocked.Increment &last

    let cloneOf (request: AcceptedRequest) (copy: int) : ObjectKey voption =
        match request.Durable with
        | null -> ValueNone
        | durable ->
            let index = durable |> Array.tryFindIndex (fun kept -> kept.Copy = copy)

            match index with
            | Some index -> ValueSome durable[index].Clone
            | None -> ValueNone

    // Writes what has become of a copy, if it is one that is kept.
    let post (request: AcceptedRequest) (id: CopyId) (work: ObjectKey -> JournalWork) : unit =
        match cloneOf request id.Copy with
        | ValueSome clone -> writer.Post(work clone)
        | ValueNone -> ()

    let acceptedAt (request: AcceptedRequest) : DateTimeOffset =
        clock.Now - monotonic.GetElapsedTime request.AcceptedAt

    // None if the journal cannot be used now. `committed` is called on its thread once it is on disk.
    let ask (run: IKeptLetters -> 'T) (committed: 'T -> unit) (refused: unit -> unit) : Task<'T option> =
        let answer =
            TaskCompletionSource<'T option>(TaskCreationOptions.RunContinuationsAsynchronously)

        let mutable found = Unchecked.defaultof<'T>

        if writer.IsOpened then
            writer.Post(
                JournalWork.Letters(
                    (fun rows -> found <- run rows),
                    (fun () ->
                        committed found
                        answer.TrySetResult(Some found) |> ignore),
                    (fun () ->
                        refused ()
                        answer.TrySetResult None |> ignore)
                )
            )
        else
            answer.SetResult None

        answer.Task

    let lost (why: DeadLetterLoss) (removed: RemovedLetter list) =
        for letter in removed do
            letters.Lost(letter.Clone, letter.Bytes, why)

    let append (request: AcceptedRequest) : ValueTask<bool> =
        if not writer.IsOpened then
            ValueTask<bool> false
        else
            request.Number <- nextNumber ()

            // It goes on where it is told: see `KeptRequests`.
            let kept = KeptSignal()
            writer.Post(JournalWork.Append(request, clock.Now, kept))
            ValueTask<bool> kept.Task

    /// The store, for as long as this is not disposed of.
    member store.Store: CopyStore = store

    /// Gives up what waits for a RequestClone: so many copies, all of them or a part. 0 if there are none, or not now.
    member _.Drop(clone: ObjectKey) : Task<int> =
        let dropped =
            TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously)

        writer.Post(JournalWork.Drop(clone, dropped))
        dropped.Task

    /// The dead letters that are meant, the oldest first. None if the journal cannot be read now, as in the next ones.
    member _.DeadLetters(filter: DeadLetterFilter) : Task<DeadLetter list option> =
        ask (fun rows -> rows.List filter) ignore ignore

    /// Those of a RequestClone that are to be sent to its sink, the oldest first, at most so many.
    member _.UnsentLetters(clone: ObjectKey, most: int) : Task<UnsentLetter list option> =
        ask (fun rows -> rows.Unsent(clone, most)) ignore ignore

    /// These have been sent to their sink, or are not to be any more.
    member _.SetSent(ids: CopyId list) : Task<unit option> =
        ask (fun rows -> List.iter rows.SetSent ids) ignore ignore

    /// One of them, with its request as it came.
    member _.DeadLetter(id: CopyId) : Task<(DeadLetter * CapturedRequest) option option> =
        ask (fun rows -> rows.Read id) ignore ignore

    /// How many are meant, by RequestClone, whatever the filter's limit.
    member _.CountDeadLetters(filter: DeadLetterFilter) : Task<(ObjectKey * int64) list option> =
        ask (fun rows -> rows.Count filter) ignore ignore

    /// Makes those that are meant copies again, of RequestClones that are routed and as long as the journal has room for
    /// them; with how many those are. The first is due after `delay`, each of the next ones an interval later.
    member _.Replay
        (filter: DeadLetterFilter, delay: TimeSpan, interval: TimeSpan, isRouted: ObjectKey -> bool)
        : Task<int option> = task {
        let reserved = ResizeArray<RemovedLetter>()

        let tryTake (letter: RemovedLetter) =
            let isTaken = isRouted letter.Clone && usage.TryReserve(letter.Clone, letter.Bytes)

            if isTaken then
                reserved.Add letter

            isTaken

        let committed (taken: RemovedLetter list) =
            let due = clock.Now + delay

            for clone, ofClone in List.groupBy (fun (letter: RemovedLetter) -> letter.Clone) taken do
                replayed clone (int64 ofClone.Length)

                for letter in ofClone do
                    letters.Replayed(clone, letter.Bytes)
                    usage.Shelve(clone, letter.Bytes, due, due)

                events.Arrived clone

        let refused () =
            for letter in reserved do
                usage.Release(letter.Clone, letter.Bytes)

        let! replayedNow =
            ask (fun rows -> rows.Replay(filter, clock.Now + delay, interval, tryTake)) committed refused

        return Option.map List.length replayedNow
    }

    /// Removes those that are meant; with how many those are.
    member _.DropDeadLetters(filter: DeadLetterFilter) : Task<int option> = task {
        let! dropped = ask (fun rows -> rows.Drop filter) (lost DeadLetterLoss.Asked) ignore
        return Option.map List.length dropped
    }

    /// Removes those that have been kept long enough, at most so many; with how many those are.
    member _.PruneDeadLetters(most: int) : Task<int option> = task {
        let! pruned =
            ask (fun rows -> rows.Prune(clock.Now, most)) (lost DeadLetterLoss.Aged) ignore

        return Option.map List.length pruned
    }

    /// Gives a sign of life, and takes over what others have left, where several use the journal; otherwise nothing.
    member _.LookAfterOthers() : unit = lookAfterOthers ()

    /// By the journal's clock, as its times are.
    member _.Now = clock.Now

    /// How many dead letters there are, and what has become of others.
    member _.Letters = letters

    member _.IsOpened = writer.IsOpened
    member _.Fault = writer.Fault
    member _.Totals = writer.Totals
    member _.Usage = usage

    override _.Append request =
        match request.Durable with
        | null ->
            request.Number <- Interlocked.Decrement &lastInMemory
            keptInMemory
        | _ -> append request

    override _.Parked request id state wait =
        // Of a suspect it is the attempt that counts: it has outlived one.
        if wait >= longWait || request.IsSuspect then
            match cloneOf request id.Copy with
            | ValueSome clone ->
                request.IsSuspect <- false
                writer.Post(JournalWork.Attempted(id, clone, state.Attempts, request.Epoch))
            | ValueNone -> ()

    override _.Shelved request id state wait =
        post request id (fun clone ->
            JournalWork.Shelved {
                Id = id
                Clone = clone
                Bytes = request.Bytes
                Attempts = state.Attempts
                Accepted = acceptedAt request
                Due = clock.Now + wait
                Epoch = request.Epoch
            })

        request.CopyEnded()

    override _.Ended request id _ =
        post request id (fun clone ->
            JournalWork.Ended {
                Id = id
                Clone = clone
                Bytes = request.Bytes
                Epoch = request.Epoch
            })

        request.CopyEnded()

    override _.Died request id outcome attempts keep isForSink =
        match cloneOf request id.Copy, DeadCause.ofOutcome outcome with
        | ValueSome clone, Some cause ->
            writer.Post(
                JournalWork.Died {
                    Id = id
                    Clone = clone
                    Bytes = request.Bytes
                    Cause = cause
                    Outcome = TargetOutcome.describe outcome
                    Attempts = attempts
                    Target = CapturedRequest.target request.Request
                    EndedAt = clock.Now
                    Keep = keep
                    Code =
                        match TargetOutcome.status outcome with
                        | ValueSome status -> string<int> status
                        | ValueNone -> TargetOutcome.errorType outcome
                    IsForSink = isForSink
                    Epoch = request.Epoch
                }
            )
        | _ -> ()

        request.CopyEnded()

    override _.MaySend request stop =
        match engine.Shared with
        | ValueSome shared -> shared.Lease.MaySend(request.Epoch, stop)
        | ValueNone -> ValueTask<bool> true

    // Whether the file can be written is another question: `Append` answers that, for the whole request.
    override _.TryReserve clone bytes = usage.TryReserve(clone, bytes)
    override _.Release clone bytes = usage.Release(clone, bytes)

    override _.Backlog clone =
        match usage.WaitingFor clone with
        | ValueSome waiting -> {
            Copies = waiting.Copies
            Bytes = waiting.Bytes
            Wait = max TimeSpan.Zero (waiting.Due - clock.Now)
            OldestAge = max TimeSpan.Zero (clock.Now - waiting.Oldest)
          }
        | ValueNone -> Backlog.empty

    override _.Take clone most bytes =
        let taken =
            TaskCompletionSource<StoredCopy list>(TaskCreationOptions.RunContinuationsAsynchronously)

        writer.Post(JournalWork.Take(clone, most, bytes, clock.Now, taken))
        taken.Task

    interface IDisposable with
        /// Writes every completion, and closes the file: after that nothing is sent again that has ended.
        member _.Dispose() =
            upkeep |> ValueOption.iter (fun upkeep -> (upkeep :> IDisposable).Dispose())
            (writer :> IDisposable).Dispose()
