/// A journal on disk, as tests use it.
module K8sReq.Journal.Tests.JournalBench

open System
open System.Buffers
open System.Collections.Concurrent
open System.IO
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit

/// A journal for one test, and what goes with it.
type TestPlace = {
    Site: JournalSite
    Resources: IDisposable
} with

    interface IDisposable with
        member place.Dispose() = place.Resources.Dispose()

module TestPlace =
    let folder () : TestPlace =
        let folder = new TestFolder()

        {
            Site = FolderSite(folder.At "journal")
            Resources = folder
        }

    /// A database on the server that all tests share.
    let postgres () : TestPlace =
        match PostgresServer.Shared with
        | Some server -> {
            Site = PostgresSite server
            Resources = {
                new IDisposable with
                    member _.Dispose() = ()
            }
          }
        | None -> skiptest PostgresServer.Missing

let shop name = ObjectKey.create "shop" name
let delivered = TargetOutcome.Delivered 200

module private LostAnswers =
    let private wrap (isArmed: bool ref) (journal: IOpenJournal) : IOpenJournal = {
        new IOpenJournal with
            member _.Epoch = journal.Epoch
            member _.ReadContent(now, keep) = journal.ReadContent(now, keep)
            member _.LastNumber = journal.LastNumber
            member _.LastTime = journal.LastTime
            member _.HasRoom(isFull, bytes) = journal.HasRoom(isFull, bytes)
            member _.Begin() = journal.Begin()
            member _.Rows = journal.Rows
            member _.Upkeep(now, keep) = journal.Upkeep(now, keep)
            member _.Recount() = journal.Recount()
            member _.Remove request = journal.Remove request
            member _.PutBack id = journal.PutBack id
            member _.SetLastTime now = journal.SetLastTime now
            member _.Leave() = journal.Leave()
            member _.Dispose() = journal.Dispose()

            member _.Commit() =
                journal.Commit()

                if isArmed.Value then
                    isArmed.Value <- false
                    raise (IOException "the answer was lost")
    }

    /// An engine whose commits are kept, but told to have failed when it is armed.
    let engine (isArmed: bool ref) (engine: JournalEngine) : JournalEngine = {
        engine with
            Open = fun isFirst tell suspects -> engine.Open isFirst tell suspects |> Result.map (wrap isArmed)
    }

/// A journal in a folder, with what it tells.
[<Sealed>]
type Bench(site: JournalSite, ?clock: TimeProvider, ?limit: int64) =
    // The journal's thread must not go on with the test.
    let found =
        TaskCompletionSource<JournalContent>(TaskCreationOptions.RunContinuationsAsynchronously)

    let arrived = ConcurrentQueue<ObjectKey>()
    let replayed = ConcurrentQueue<ObjectKey * int64>()
    let faults = ConcurrentQueue<JournalFault>()
    let mutable recoveries = 0
    let limit = defaultArg limit 1_000_000_000L
    let clock = defaultArg clock TimeProvider.System
    let adopted = ConcurrentQueue<JournalUpkeep>()
    let takenOver = ConcurrentQueue<ObjectKey * int64>()
    let recounted = ConcurrentQueue<ObjectKey * int64>()
    let losesAnswer = ref false

    let store =
        new JournalStore(
            clock,
            LostAnswers.engine losesAnswer (site.Engine(clock, limit)),
            TestJournal.Options limit,
            {
                Opened = found.SetResult
                Adopted = adopted.Enqueue
                Replicas = ignore
                Recounted = fun clone copies -> recounted.Enqueue(clone, copies)
                TakenOver = fun clone copies -> takenOver.Enqueue(clone, copies)
                Arrived = arrived.Enqueue
                Failed = faults.Enqueue
                Recovered = fun () -> recoveries <- recoveries + 1
            },
            fun clone copies -> replayed.Enqueue(clone, copies)
        )

    /// All that was found: at the opening, and what others have left.
    let settled: Lazy<Task<JournalContent>> =
        lazy
            task {
                let! first = found.Task |> Waiting.within "the journal to be open"
                do! Waiting.until "what others have left" (fun () -> Task.FromResult site.IsSettled)
                // Behind what was told of it.
                let! _ = store.CountDeadLetters DeadLetterFilter.everything
                let upkeeps = List.ofSeq adopted

                return {
                    first with
                        Waiting = [
                            yield! first.Waiting

                            for clone, ofClone in upkeeps |> List.collect _.Adopted |> List.groupBy fst do
                                clone, ofClone |> List.map snd |> List.reduce WaitingCopies.join
                        ]
                        Poisonous = first.Poisonous @ List.collect _.Poisonous upkeeps
                }
            }

    /// In a folder.
    new(folder: string, ?clock: TimeProvider, ?limit: int64) =
        new Bench(FolderSite folder, ?clock = clock, ?limit = limit)

    member _.Journal = store
    member _.Clock = clock
    member _.TakenOver = List.ofSeq takenOver
    member _.Recounted = List.ofSeq recounted

    /// The next commit is kept, and is told to have failed.
    member _.LoseAnswer() = losesAnswer.Value <- true
    member _.Store = store.Store
    member _.Found = settled.Value
    member _.Faults = List.ofSeq faults
    member _.Recoveries = recoveries
    member _.LookAfterOthers() = store.LookAfterOthers()
    member _.Replayed = List.ofSeq replayed

    member bench.FoundCopies = task {
        let! found = bench.Found
        return found.Waiting |> List.map (fun (clone, waiting) -> clone.Name, waiting.Copies)
    }

    interface IDisposable with
        member _.Dispose() = (store :> IDisposable).Dispose()

let requestOf (body: byte[]) (clones: (ObjectKey * bool) list) (release: unit -> unit) =
    AcceptedRequest(
        TestRequest.post body,
        int64 body.Length,
        0L,
        null,
        clones |> List.filter (snd >> not) |> List.length,
        [|
            for index, (clone, isSpilled) in List.indexed clones do
                {
                    Copy = index
                    Clone = clone
                    IsSpilled = isSpilled
                }
        |],
        release
    )

/// Who waits for a commit goes on on the journal's thread. A test may wait for the journal next, so it goes on elsewhere.
let kept (store: CopyStore) (request: AcceptedRequest) : Task<bool> = task {
    let! isKept = (store.Append request).AsTask() |> Waiting.within "the commit"
    do! Task.Yield()
    return isKept
}

let append (bench: Bench) (request: AcceptedRequest) : Task<unit> = task {
    let! _ = bench.Found

    match request.Durable with
    | null -> ()
    | durable ->
        for copy in durable do
            Expect.isTrue (bench.Store.TryReserve copy.Clone request.Bytes) "there is room"

    let! isKept = kept bench.Store request
    Expect.isTrue isKept "kept"
}

let copyOf (request: AcceptedRequest) (copy: int) = {
    Request = request.Number
    Copy = copy
}

/// What is due, as much of it as may be taken now.
let takeOnce (bench: Bench) (clone: ObjectKey) : Task<StoredCopy list> =
    bench.Store.Take clone 256 1_000_000L |> Waiting.within "what was taken"

/// All that is due, however many times that takes: an attempt of each suspect ends, so that others can be taken.
let rec take (bench: Bench) (clone: ObjectKey) : Task<StoredCopy list> = task {
    match! takeOnce bench clone with
    | [] -> return []
    | first ->
        for copy in first do
            if copy.IsSuspect then
                let state = {
                    CopyState.accepted with
                        Attempts = copy.Attempts
                }

                bench.Store.Parked
                    (StoredCopy.accepted 0L ignore copy)
                    copy.Id
                    state
                    (TimeSpan.FromMilliseconds 100.0)

        let! rest = take bench clone
        return first @ rest
}

/// A clock that can be set, also back.
[<Sealed>]
type SetClock() =
    inherit TestClock()
    member val Offset = TimeSpan.Zero with get, set
    override clock.GetUtcNow() = base.GetUtcNow() + clock.Offset
    override clock.GetTimestamp() = base.GetUtcNow().UtcTicks

let bodyOf (copy: StoredCopy) = copy.Request.Wire.ToArray()

/// The files as a power cut would leave them: copied while the journal is open.
let crash (folder: TestFolder) (name: string) : string =
    let image = folder.At name
    Directory.CreateDirectory image |> ignore

    for file in Directory.GetFiles(folder.At "journal") do
        File.Copy(file, Path.Combine(image, string (Path.GetFileName file)))

    image

/// The files of one folder in another one, as they are now.
let copyFolder (source: string) (destination: string) : unit =
    Directory.CreateDirectory destination |> ignore

    for file in Directory.GetFiles source do
        File.Copy(file, Path.Combine(destination, string (Path.GetFileName file)))
