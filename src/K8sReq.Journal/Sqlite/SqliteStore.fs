namespace K8sReq.Journal.Sqlite

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// Keeps durable copies in a folder on disk, and the others in memory. What was acknowledged survives the process.
[<Sealed>]
type SqliteStore
    (
        clock: TimeProvider,
        folder: string,
        limit: int64,
        linger: TimeSpan,
        // Told of what was in the journal when it was opened, and of each RequestClone of which a copy waits in it from now on.
        // As the next two, called on the journal's thread.
        opened: (ObjectKey * Backlog) list -> unit,
        arrived: ObjectKey -> unit,
        failed: JournalFault -> unit,
        recovered: unit -> unit
    ) =
    // A wait in memory that is longer is worth writing down how many attempts there were: after a crash they count.
    let longWait = TimeSpan.FromSeconds 5.0
    let usage = JournalUsage limit

    let writer =
        new JournalWriter(folder, linger, usage, opened, arrived, failed, recovered)
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

    // Of a copy that came out of the file others may be there still.
    let allInMemory (request: AcceptedRequest) : int =
        match request.Durable with
        | null -> 0
        | durable when
            not request.IsStored
            && not request.HasShelved
            && durable |> Array.forall (fun copy -> not copy.IsSpilled)
            ->
            durable.Length
        | _ -> 0

    let append (request: AcceptedRequest) : ValueTask<bool> =
        if not writer.IsOpened then
            ValueTask<bool> false
        else
            request.Number <- nextNumber ()

            let kept =
                TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously)

            writer.Post(JournalWork.Append(request, clock.GetUtcNow(), kept))
            ValueTask<bool> kept.Task

    /// The store, for as long as this is not disposed of.
    member _.Store: CopyStore = {
        Append =
            fun request ->
                match request.Durable with
                | null ->
                    request.Number <- Interlocked.Decrement &lastInMemory
                    keptInMemory
                | _ -> append request
        Parked =
            fun request id state wait ->
                if wait >= longWait && request.IsDurable id.Copy then
                    writer.Post(JournalWork.Attempted(id, state.Attempts))
        Shelved =
            fun request id state wait ->
                request.HasShelved <- true

                match cloneOf request id.Copy with
                | ValueSome clone ->
                    writer.Post(
                        JournalWork.Shelved(
                            id,
                            clone,
                            request.Bytes,
                            state.Attempts,
                            clock.GetUtcNow() + wait
                        )
                    )
                | ValueNone -> ()

                request.CopyEnded()
        Ended =
            fun request id _ ->
                match cloneOf request id.Copy with
                | ValueSome clone ->
                    writer.Post(JournalWork.Ended(id, clone, request.Bytes, allInMemory request))
                | ValueNone -> ()

                request.CopyEnded()
        // Whether the file can be written is another question: `Append` answers that, for the whole request.
        TryReserve = fun clone bytes -> usage.TryReserve(clone, bytes)
        Release = fun clone bytes -> usage.Release(clone, bytes)
        Backlog = fun clone -> usage.Backlog clone
        Take =
            fun clone most bytes ->
                let taken =
                    TaskCompletionSource<StoredCopy list>(TaskCreationOptions.RunContinuationsAsynchronously)

                writer.Post(JournalWork.Take(clone, most, bytes, clock.GetUtcNow(), taken))
                taken.Task
    }

    /// Gives up what waits for a RequestClone: so many copies, all of them or a part. 0 if there are none, or not now.
    member _.Drop(clone: ObjectKey) : Task<int> =
        let dropped =
            TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously)

        writer.Post(JournalWork.Drop(clone, dropped))
        dropped.Task

    member _.IsOpened = writer.IsOpened
    member _.Fault = writer.Fault
    member _.Totals = writer.Totals
    member _.Usage = usage

    interface IDisposable with
        /// Writes every completion, and closes the file: after that nothing is sent again that has ended.
        member _.Dispose() = (writer :> IDisposable).Dispose()
