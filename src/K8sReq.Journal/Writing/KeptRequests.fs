namespace K8sReq.Journal

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open K8sReq.Proxy

/// Waits for a commit, and goes on on the event loop where it began to wait; where that is none, as `KeptRequests` says.
[<Sealed>]
type KeptSignal() =
    inherit TaskCompletionSource<bool>()
    /// Where it was made.
    member val Loop = EventLoop.Current

/// Some of one event loop that wait for a commit: they go on there, woken once. The copies that they send then stay on it.
[<Sealed>]
type private ToldOnLoop(loop: EventLoop) =
    // Others on the loop have their turn after so many.
    static let mostAtOnce = 64
    let waiting = ResizeArray<KeptSignal>()
    let mutable next = 0

    member _.Loop = loop
    member _.Add(one: KeptSignal) = waiting.Add one

    member private this.Go() =
        let last = min waiting.Count (next + mostAtOnce)

        while next < last do
            waiting[next].TrySetResult true |> ignore
            next <- next + 1

        if next < waiting.Count then
            loop.Later(fun () -> this.Go())

    member this.Post() = loop.Post(fun () -> this.Go())

/// Some that wait for a commit. Any number of threads tell one after the other, who goes on there until it waits for something;
/// one that goes on for long keeps a thread, and the others go on with the next.
[<Sealed>]
type private Told(waiting: TaskCompletionSource<bool>[], isKept: bool) =
    let mutable last = -1

    let rec tellWhile (isWilling: unit -> bool) =
        if isWilling () then
            let index = Interlocked.Increment &last

            if index < waiting.Length then
                waiting[index].TrySetResult isKept |> ignore
                tellWhile isWilling

    member _.Count = waiting.Length
    member _.IsOver = Volatile.Read &last >= waiting.Length - 1

    /// Begins with no further one after so long.
    member _.TellFor(time: TimeSpan) =
        let began = Stopwatch.GetTimestamp()
        tellWhile (fun () -> Stopwatch.GetElapsedTime began < time)

    /// By so many threads of the pool.
    member this.Queue(threads: int) =
        for _ in 1 .. min threads waiting.Length do
            ThreadPool.UnsafeQueueUserWorkItem(this, false) |> ignore

    interface IThreadPoolWorkItem with
        member _.Execute() = tellWhile (fun () -> true)

/// Tells those who wait for a commit. Not safe for concurrent use: it is the journal's thread that does so.
[<Sealed>]
type KeptRequests() =
    // More than this is a large body or many copies: its work could hold the journal up.
    let lightBytes = 16L * 1024L
    let lightCopies = 8
    // What the journal's thread gives of its own time to those of a commit.
    let ownTime = TimeSpan.FromMilliseconds 5.0
    // So many more make one thread of the pool more worth it.
    let perThread = 32
    let onLoops = ResizeArray<ToldOnLoop>()
    let light = ResizeArray<TaskCompletionSource<bool>>()
    let heavy = ResizeArray<TaskCompletionSource<bool>>()

    let addOn (loop: EventLoop) (waiting: KeptSignal) =
        match onLoops.Find(fun told -> Object.ReferenceEquals(told.Loop, loop)) with
        | null ->
            let told = ToldOnLoop loop
            told.Add waiting
            onLoops.Add told
        | told -> told.Add waiting

    let add (request: AcceptedRequest) (waiting: TaskCompletionSource<bool>) =
        if request.Bytes <= lightBytes && request.Copies <= lightCopies then
            light.Add waiting
        else
            heavy.Add waiting

    /// Who waits for a request that is on disk now.
    member _.Add(request: AcceptedRequest, waiting: TaskCompletionSource<bool>) : unit =
        match waiting with
        | :? KeptSignal as signal ->
            match signal.Loop with
            | null -> add request waiting
            | loop -> addOn loop signal
        | _ -> add request waiting

    /// Tells all that were added. Those of event loops go on there, and the others here or in the pool. To wake a thread of the
    /// pool and to go on there costs more than what most of them do until they wait for the network, so the light ones go on here,
    /// for a moment: nothing of theirs blocks.
    member _.Tell() : unit =
        for told in onLoops do
            told.Post()

        onLoops.Clear()

        if heavy.Count > 0 then
            let told = Told(heavy.ToArray(), true)
            heavy.Clear()
            told.Queue(2 + told.Count / perThread)

        if light.Count > 0 then
            let told = Told(light.ToArray(), true)
            light.Clear()
            // Helpers from the start where there are many.
            let helpers = told.Count / perThread
            told.Queue helpers
            told.TellFor ownTime

            if helpers = 0 && not told.IsOver then
                told.Queue 1

    /// One that was not kept: wherever that shows, it goes on in the pool.
    static member TellRefused(waiting: TaskCompletionSource<bool>) : unit = Told([| waiting |], false).Queue 1
