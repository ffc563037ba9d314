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

let shop name = ObjectKey.create "shop" name
let delivered = TargetOutcome.Delivered 200

/// A journal in a folder, with what it tells.
[<Sealed>]
type Bench(folder: string, ?clock: TimeProvider, ?limit: int64) =
    // The journal's thread must not go on with the test.
    let found =
        TaskCompletionSource<JournalContent>(TaskCreationOptions.RunContinuationsAsynchronously)

    let arrived = ConcurrentQueue<ObjectKey>()
    let replayed = ConcurrentQueue<ObjectKey * int64>()
    let faults = ConcurrentQueue<JournalFault>()
    let mutable recoveries = 0
    let limit = defaultArg limit 1_000_000_000L

    let store =
        new JournalStore(
            defaultArg clock TimeProvider.System,
            TestJournal.Engine(folder, limit),
            TestJournal.Options limit,
            {
                Opened = found.SetResult
                Arrived = arrived.Enqueue
                Failed = faults.Enqueue
                Recovered = fun () -> recoveries <- recoveries + 1
            },
            fun clone copies -> replayed.Enqueue(clone, copies)
        )

    member _.Journal = store
    member _.Store = store.Store
    member _.Found = found.Task |> Waiting.within "the journal to be open"
    member _.Faults = List.ofSeq faults
    member _.Recoveries = recoveries
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
