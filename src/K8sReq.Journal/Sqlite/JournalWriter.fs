namespace K8sReq.Journal.Sqlite

open System
open System.Collections.Generic
open System.Diagnostics
open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// What the journal has done, for metrics.
[<Struct>]
type JournalTotals = {
    Commits: int64
    /// That could not be done.
    FailedCommits: int64
    /// In transactions, sync included.
    CommitTime: TimeSpan
}

/// The journal's thread: it alone has the database. What comes while a transaction is being synced is the next one.
///
/// After a commit that failed nobody knows what is on disk (a failed sync marks pages as written), so the file is closed and
/// opened again. What was to be appended is refused; what has ended is written later.
[<Sealed>]
type JournalWriter
    (
        folder: string,
        linger: TimeSpan,
        usage: JournalUsage,
        // Told of what was found at the first opening, and of each RequestClone of which a copy waits in the file from now on.
        // Both are called on the journal's thread.
        opened: (ObjectKey * Backlog) list -> unit,
        arrived: ObjectKey -> unit,
        // Told of the first of a run of failures, and once it is over. Called on the journal's thread.
        failed: JournalFault -> unit,
        recovered: unit -> unit
    ) =
    // Completions alone are not synced one by one: those of so much time are sent twice after a crash.
    let completionDelay = TimeSpan.FromMilliseconds 100.0
    // How often a journal that cannot be used is tried again.
    let reopenInterval = TimeSpan.FromSeconds 1.0

    // Guards the queue and the flags; pulsed when there is something to do.
    let gate = obj ()
    let mutable queue = ResizeArray<JournalWork>()
    // Somebody waits for something in the queue.
    let mutable isUrgent = false
    let mutable isLingering = false
    let mutable isStopping = false

    // The thread's own.
    let mutable current: struct (Database * JournalRows) voption = ValueNone
    let mutable hasOpened = false
    let mutable hasFailed = false
    let mutable openedAt = 0L
    // Requests of a commit that failed: they may be there all the same.
    let undone = ResizeArray<int64>()

    // Read by any thread, written by the journal's.
    let mutable totals = {
        Commits = 0L
        FailedCommits = 0L
        CommitTime = TimeSpan.Zero
    }

    let mutable fault: JournalFault option = None
    let mutable lastNumber = 0L
    let mutable isOpened = false

    let tell (reason: JournalFault) =
        Volatile.Write(&fault, Some reason)

        if not hasFailed then
            hasFailed <- true
            failed reason

    let close () =
        match current with
        | ValueSome(struct (database, _)) ->
            current <- ValueNone
            (database :> IDisposable).Dispose()
        | ValueNone -> ()

    // No more often than the interval: a journal that is away costs nothing.
    let tryOpen () =
        if
            current.IsNone
            && (openedAt = 0L || Stopwatch.GetElapsedTime openedAt >= reopenInterval)
        then
            openedAt <- Stopwatch.GetTimestamp()

            match JournalFile.openIn (not hasOpened) folder with
            | Error reason -> tell reason
            | Ok database ->
                try
                    let rows = JournalRows database

                    if not hasOpened then
                        hasOpened <- true
                        lastNumber <- rows.LastNumber
                        let found = rows.Found

                        for clone, backlog in found do
                            usage.Found(clone, backlog)

                        Volatile.Write(&isOpened, true)
                        opened found

                    current <- ValueSome(struct (database, rows))
                with error ->
                    (database :> IDisposable).Dispose()
                    tell (JournalFault.ofError (JournalFile.pathIn folder) error)

    let refuse (work: JournalWork) =
        match work with
        | JournalWork.Append(_, _, kept) -> kept.TrySetResult false |> ignore
        | JournalWork.Take(_, _, _, _, taken) -> taken.TrySetResult [] |> ignore
        | JournalWork.Drop(_, dropped) -> dropped.TrySetResult 0 |> ignore
        | JournalWork.Attempted _
        | JournalWork.Shelved _
        | JournalWork.Ended _ -> ()

    let isPatient (work: JournalWork) =
        match work with
        | JournalWork.Attempted _
        | JournalWork.Shelved _
        | JournalWork.Ended _ -> true
        | JournalWork.Append _
        | JournalWork.Take _
        | JournalWork.Drop _ -> false

    // What is known once it is on disk.
    let committed (rows: JournalRows) (work: JournalWork) (result: StoredCopy list) =
        match work with
        | JournalWork.Append(request, at, kept) ->
            match request.Durable with
            | null -> ()
            | durable ->
                for copy in durable do
                    if copy.IsSpilled then
                        usage.Shelve(copy.Clone, request.Bytes, at)

            kept.TrySetResult true |> ignore
        | JournalWork.Take(clone, _, _, _, taken) ->
            let bytes = result |> List.sumBy _.Bytes
            usage.Take(clone, int64 result.Length, bytes, rows.NextDue clone)
            taken.TrySetResult result |> ignore
        | JournalWork.Shelved(_, clone, bytes, _, due) ->
            usage.Shelve(clone, bytes, due)
            arrived clone
        | JournalWork.Drop(clone, dropped) ->
            let copies = result.Length
            let bytes = result |> List.sumBy _.Bytes
            usage.Take(clone, int64 copies, bytes, rows.NextDue clone)
            usage.Release(clone, bytes)
            dropped.TrySetResult copies |> ignore
        | JournalWork.Ended(_, clone, bytes, _) -> usage.Release(clone, bytes)
        | JournalWork.Attempted _ -> ()

    // How many copies of each request end in this batch, of requests all of whose copies are in memory: most often all of them
    // do, and the request is removed as a whole.
    let endsOf (batch: ResizeArray<JournalWork>) : Dictionary<int64, int> =
        let ends = Dictionary<int64, int>()

        for work in batch do
            match work with
            | JournalWork.Ended(id, _, _, all) when all > 0 ->
                let before =
                    match ends.TryGetValue id.Request with
                    | true, count -> count
                    | false, _ -> 0

                ends[id.Request] <- before + 1
            | _ -> ()

        ends

    // True if the batch is on disk.
    let commit (database: Database) (rows: JournalRows) (batch: ResizeArray<JournalWork>) : bool =
        let began = Stopwatch.GetTimestamp()

        try
            let results = Array.create batch.Count []
            let removed = HashSet<int64>()
            database.Execute "BEGIN IMMEDIATE"

            for request in undone do
                rows.Remove request

            let ends = endsOf batch

            for index in 0 .. batch.Count - 1 do
                match batch[index] with
                | JournalWork.Ended(id, _, _, all) when all > 0 && ends[id.Request] = all ->
                    // The first of them removes it, the others find it gone.
                    if removed.Add id.Request then
                        rows.Remove id.Request
                | work -> results[index] <- rows.Run work

            database.Execute "COMMIT"
            undone.Clear()

            totals <- {
                totals with
                    Commits = totals.Commits + 1L
                    CommitTime = totals.CommitTime + Stopwatch.GetElapsedTime began
            }

            if hasFailed then
                hasFailed <- false
                Volatile.Write(&fault, None)
                recovered ()

            for index in 0 .. batch.Count - 1 do
                committed rows batch[index] results[index]

            true
        with error ->
            totals <- {
                totals with
                    FailedCommits = totals.FailedCommits + 1L
            }

            tell (JournalFault.ofError (JournalFile.pathIn folder) error)
            close ()
            false

    // What could not be written now: who waits is told so, the rest is written later.
    let postpone (batch: ResizeArray<JournalWork>) =
        for work in batch do
            match work with
            | JournalWork.Append(request, _, _) -> undone.Add request.Number
            | _ -> ()

            refuse work

        let later = batch |> Seq.filter isPatient |> ResizeArray

        lock gate (fun () ->
            later.AddRange queue
            queue <- later)

    let write (batch: ResizeArray<JournalWork>) =
        tryOpen ()

        match current with
        | ValueSome(struct (database, rows)) ->
            if not (commit database rows batch) then
                postpone batch
        | ValueNone -> postpone batch

    // Waits for work, and for what is to be written together with it. None once everything is written after the stop.
    let next () : ResizeArray<JournalWork> option =
        lock gate (fun () ->
            let mutable isOver = false

            while not isOver do
                if isStopping then
                    isOver <- true
                elif isUrgent then
                    // Others may share the commit. What comes meanwhile wakes nobody.
                    let began = Stopwatch.GetTimestamp()
                    isLingering <- true
                    let mutable left = linger

                    while left > TimeSpan.Zero && not isStopping do
                        Monitor.Wait(gate, left) |> ignore
                        left <- linger - Stopwatch.GetElapsedTime began

                    isLingering <- false
                    isOver <- true
                elif queue.Count > 0 then
                    // A journal that cannot be written is not asked for completions alone more often than it is tried.
                    let delay =
                        if current.IsNone && hasOpened then
                            reopenInterval
                        else
                            completionDelay

                    if not (Monitor.Wait(gate, delay)) then
                        isOver <- true
                else
                    Monitor.Wait gate |> ignore

            let batch = queue
            queue <- ResizeArray()
            isUrgent <- false

            if isStopping && batch.Count = 0 then None else Some batch)

    let run () =
        tryOpen ()

        while current.IsNone && not hasOpened && not (Volatile.Read &isStopping) do
            // Nothing can be done yet. Who asks is told so at once.
            lock gate (fun () ->
                if not isStopping then
                    Monitor.Wait(gate, reopenInterval) |> ignore

                for work in queue do
                    refuse work

                queue.RemoveAll(fun work -> not (isPatient work)) |> ignore)

            tryOpen ()

        if hasFailed && current.IsSome then
            hasFailed <- false
            Volatile.Write(&fault, None)
            recovered ()

        let mutable isOver = false

        while not isOver do
            match next () with
            | None -> isOver <- true
            | Some batch ->
                write batch

                // What cannot be written at the end is sent again after the next start.
                if Volatile.Read &isStopping && current.IsNone then
                    isOver <- true

        close ()

    let thread = Thread(run, IsBackground = true, Name = "journal")
    do thread.Start()

    /// Whether the file has been opened once.
    member _.IsOpened = Volatile.Read &isOpened
    /// After that: the highest number that a request in it has.
    member _.LastNumber = lastNumber
    /// Why it cannot be used now; None if it can.
    member _.Fault = Volatile.Read &fault
    member _.Totals = totals

    member _.Post(work: JournalWork) : unit =
        let isTaken =
            lock gate (fun () ->
                if isStopping then
                    false
                else
                    queue.Add work

                    if not (isPatient work) then
                        isUrgent <- true

                    // Completions wait for the next transaction; the first begins the time after which they have one.
                    if not isLingering && (not (isPatient work) || queue.Count = 1) then
                        Monitor.Pulse gate

                    true)

        if not isTaken then
            refuse work

    interface IDisposable with
        /// Writes what is there, and closes the file.
        member _.Dispose() =
            lock gate (fun () ->
                isStopping <- true
                Monitor.PulseAll gate)

            thread.Join()
