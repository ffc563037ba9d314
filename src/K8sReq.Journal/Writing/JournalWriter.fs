namespace K8sReq.Journal

open System
open System.Collections.Generic
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// The journal's thread: it alone has the database. What comes while a transaction is being synced is the next one.
///
/// After a commit that failed nobody knows what is on disk (a failed sync marks pages as written), so the file is closed and
/// opened again. What was to be appended is refused; what has ended is written later.
[<Sealed>]
type JournalWriter
    (
        engine: JournalEngine,
        options: JournalOptions,
        clock: JournalClock,
        usage: JournalUsage,
        letters: DeadLetterUsage,
        events: JournalEvents
    ) =
    // How often a journal that cannot be used is tried again.
    let reopenInterval = TimeSpan.FromSeconds 1.0
    let queue = JournalQueue options.Linger

    // The thread's own.
    let mutable current: OpenJournal voption = ValueNone
    let mutable hasOpened = false
    // Found before that, at whichever attempt.
    let mutable damage: DamagedLog option = None
    let mutable hasFailed = false
    // There is no room for further requests on the volume.
    let mutable isFull = false
    let mutable openedAt = 0L
    let mutable epoch = 0L
    // A transaction has failed of which nobody knows what it has changed of what waits.
    let mutable isUncertain = false
    // Of a commit that failed: requests that may be there all the same, and copies that may have been taken out.
    let undone = ResizeArray<int64>()
    let untaken = ResizeArray<CopyId>()
    let live = LivePacks TimeProvider.System
    let suspects = Suspects()
    let committed = CommittedWork(usage, letters, live, events)

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
            events.Failed reason

    let close () =
        match current with
        | ValueSome journal ->
            current <- ValueNone
            (journal :> IDisposable).Dispose()
        | ValueNone -> ()

    // What is there at the first opening.
    let read (journal: IOpenJournal) =
        let content, left = journal.ReadContent(clock.Now, options.DeadLetterKeep)
        lastNumber <- journal.LastNumber
        // What is damaged may show only as it is read: then this is not an opening yet.
        hasOpened <- true

        for clone, copies in left do
            usage.Found(clone, copies)

        for clone, count in content.Letters do
            letters.Found(clone, count)

        for clone in content.Unsent do
            letters.AddUnsent clone

        Volatile.Write(&isOpened, true)
        events.Opened { content with Damage = damage }

    // Others have taken over what this process had in the journal. What it has in memory ends there: see `SendLease`.
    let abandon () =
        undone.Clear()
        untaken.Clear()
        suspects.Clear()
        queue.Replace JournalWork.ofAbandoned
        live.Abandon() |> List.map JournalWork.Ended |> queue.PutBack

        for clone, waiting in usage.Waiting do
            usage.Take(clone, waiting.Copies, waiting.Bytes, ValueNone)
            usage.Release(clone, waiting.Bytes)
            events.TakenOver clone waiting.Copies

    // The time, and whose the copies in memory are.
    let join (journal: IOpenJournal) =
        match engine.Shared with
        | ValueSome _ -> clock.Set journal.LastTime
        | ValueNone when not hasOpened -> clock.GoOnFrom journal.LastTime
        | ValueNone -> ()

        if hasOpened && journal.Epoch <> epoch then
            abandon ()

        epoch <- journal.Epoch

    // No more often than the interval: a journal that is away costs nothing. At the end it is tried at once: what has ended is sent
    // again if it is not written.
    let tryOpen () =
        if
            current.IsNone
            && (openedAt = 0L
                || queue.IsStopping
                || Stopwatch.GetElapsedTime openedAt >= reopenInterval)
        then
            openedAt <- Stopwatch.GetTimestamp()

            match engine.Open (not hasOpened) (fun found -> damage <- Some found) suspects with
            | Error reason -> tell reason
            | Ok journal ->
                try
                    join journal

                    if not hasOpened then
                        read journal

                    current <- ValueSome(new OpenJournal(journal, suspects))

                    if engine.Shared.IsSome then
                        queue.Post JournalWork.Upkeep
                with error ->
                    journal.Dispose()
                    tell (engine.FaultOf error)

    let execute (opened: OpenJournal) (batch: ResizeArray<JournalWork>) (results: JournalResult[]) =
        // Something waits for a time in it.
        let mutable hasDue = false
        let journal = opened.Journal
        suspects.Begin()
        journal.Begin()

        for request in undone do
            journal.Remove request

        for copy in untaken do
            journal.PutBack copy

        for index in 0 .. batch.Count - 1 do
            results[index] <-
                match batch[index], JournalWork.epoch batch[index] with
                | JournalWork.Upkeep, _ ->
                    JournalResult.Kept(journal.Upkeep(clock.Now, options.DeadLetterKeep))
                // It may be here again, taken over from what this process was before: that one is to be sent.
                | _, ValueSome since when since <> epoch -> JournalResult.Stale
                | work, _ -> opened.Run work

            match batch[index] with
            | JournalWork.Shelved _
            | JournalWork.Died _ -> hasDue <- true
            | _ -> ()

        if hasDue then
            journal.SetLastTime clock.Now

        opened.Commit()

    // Nobody knows what of it is on disk.
    let forget (batch: ResizeArray<JournalWork>) (results: JournalResult[]) =
        suspects.Undo()

        for index in 0 .. batch.Count - 1 do
            isUncertain <- isUncertain || JournalWork.isUncertain batch[index]

            match batch[index], results[index] with
            | JournalWork.Append(request, _, _), _ -> undone.Add request.Number
            | _, JournalResult.Taken(copies, _) ->
                for copy in copies do
                    untaken.Add copy.Id
            | _ -> ()

    let works () =
        if hasFailed then
            hasFailed <- false
            Volatile.Write(&fault, None)
            events.Recovered()

    // True if the batch is on disk.
    let commit (journal: OpenJournal) (batch: ResizeArray<JournalWork>) : bool =
        let began = Stopwatch.GetTimestamp()
        let results = Array.create batch.Count JournalResult.Nothing

        let isDone =
            try
                execute journal batch results
                true
            with error ->
                forget batch results

                totals <- {
                    totals with
                        FailedCommits = totals.FailedCommits + 1L
                }

                tell (engine.FaultOf error)
                close ()
                false

        // Not within the attempt: what is on disk stays there, whatever comes of telling so. Nothing is read from the file
        // here, for that may fail.
        if isDone then
            undone.Clear()
            untaken.Clear()

            totals <- {
                totals with
                    Commits = totals.Commits + 1L
                    CommitTime = totals.CommitTime + Stopwatch.GetElapsedTime began
            }

            if committed.Tell(epoch, batch, results) then
                queue.Post JournalWork.Upkeep

        isDone

    // What could not be written now: who waits is told so, the rest is written later.
    let postpone (batch: ResizeArray<JournalWork>) =
        Seq.iter JournalWork.refuse batch
        queue.PutBack(Seq.filter JournalWork.isPatient batch)

    let tryCommit (batch: ResizeArray<JournalWork>) : bool =
        match current with
        | ValueSome journal -> commit journal batch
        | ValueNone -> false

    // One after the other, each a transaction, until one fails: what is left is postponed, in this order.
    let rec tryCommitAll (batches: ResizeArray<JournalWork> list) : bool =
        match batches with
        | [] -> true
        | batch :: rest when batch.Count = 0 || tryCommit batch -> tryCommitAll rest
        | left ->
            postpone (ResizeArray(Seq.concat left))
            false

    // What is left of a batch where there is no room for its requests.
    let refuseBeyondRoom (batch: ResizeArray<JournalWork>) : ResizeArray<JournalWork> =
        match current with
        | ValueSome journal when isFull || batch.Exists JournalWork.isAppend ->
            isFull <- not (journal.Journal.HasRoom(isFull, Seq.sumBy JournalWork.bytesToAdd batch))

            if isFull then
                tell engine.NoRoom
                batch.FindAll JournalWork.isAppend |> Seq.iter JournalWork.refuse
                batch.FindAll(fun work -> not (JournalWork.isAppend work))
            else
                batch
        | ValueSome _
        | ValueNone -> batch

    // What waits is what is there, whatever became of transactions that have failed.
    let recount () =
        match current with
        | ValueSome opened when isUncertain ->
            try
                opened.Journal.Begin()
                let found = opened.Journal.Recount()
                opened.Commit()
                isUncertain <- false
                Option.iter letters.FoundAll found.Letters

                for clone in found.Unsent do
                    letters.AddUnsent clone

                for clone, copies in usage.Recount found.Adopted do
                    events.Recounted clone copies
                    events.Arrived clone
            with error ->
                tell (engine.FaultOf error)
                close ()
        | ValueSome _
        | ValueNone -> ()

    // After a failure: what makes room first, by itself, where room is what was missing; then what nobody waits for, so that
    // what waits can be counted; then the rest. Nothing of it depends on what comes later here.
    let writeAfterFailure (batch: ResizeArray<JournalWork>) (upkeep: ResizeArray<JournalWork>) =
        let urgent = batch.FindAll(fun work -> not (JournalWork.isPatient work))
        let first = batch.FindAll JournalWork.makesRoom

        let patient =
            batch.FindAll(fun work -> JournalWork.isPatient work && not (JournalWork.makesRoom work))

        if tryCommitAll [ first; patient ] then
            recount ()

            if tryCommitAll [ urgent; upkeep ] && current.IsSome && not isFull then
                works ()
        else
            postpone urgent

    let write (all: ResizeArray<JournalWork>) =
        // By itself: a sign of life does not depend on what others write, nor do they on what is taken over. Once is enough.
        let upkeep, others =
            if all.Exists _.IsUpkeep then
                ResizeArray [ JournalWork.Upkeep ], all.FindAll(fun work -> not work.IsUpkeep)
            else
                ResizeArray(), all

        let batch = refuseBeyondRoom others

        if hasFailed then
            writeAfterFailure batch upkeep
        else
            tryCommitAll [ batch; upkeep ] |> ignore

    let run () =
        tryOpen ()

        while not hasOpened && not queue.IsStopping do
            // Nothing can be done yet. Who asks is told so.
            queue.TakeUrgentAfter reopenInterval |> List.iter JournalWork.refuse
            tryOpen ()

        if current.IsSome then
            works ()

        let mutable isOver = false
        // That a connection is gone shows at the end perhaps: then there is another attempt.
        let mutable attemptsAtEnd = 2

        while not isOver do
            let retryDelay =
                if current.IsNone then
                    ValueSome reopenInterval
                else
                    ValueNone

            match queue.Next(retryDelay, live.Due) with
            | None ->
                isOver <- true
                tryOpen ()
                let rest = live.Settle(ResizeArray(), true, false)

                if rest.Count > 0 then
                    write rest
            | Some batch ->
                // Before it is looked at what is to be written: in another epoch that is less.
                let before = epoch
                tryOpen ()

                let batch =
                    if epoch = before then
                        batch
                    else
                        ResizeArray(Seq.collect JournalWork.ofAbandoned batch)

                match live.Settle(batch, false, not hasFailed) with
                | settled when settled.Count > 0 -> write settled
                | _ -> ()

                // What cannot be written at the end is sent again after the next start.
                if queue.IsStopping && current.IsNone then
                    attemptsAtEnd <- attemptsAtEnd - 1
                    isOver <- attemptsAtEnd = 0

        // Nobody is left waiting.
        queue.TakeUrgentAfter TimeSpan.Zero |> List.iter JournalWork.refuse

        try
            current |> ValueOption.iter _.Journal.Leave()
        with error ->
            // Others find out after a while.
            tell (engine.FaultOf error)

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

    /// Work that comes after the end is refused.
    member _.Post(work: JournalWork) : unit = queue.Post work

    interface IDisposable with
        /// Writes what is there, and closes the file.
        member _.Dispose() =
            queue.Stop()

            // It may be somebody who waited for a commit: then it is this thread that has to go on and end.
            if Thread.CurrentThread <> thread then
                thread.Join()
