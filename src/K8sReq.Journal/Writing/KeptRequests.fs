namespace K8sReq.Journal

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open K8sReq.Proxy

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
    let light = ResizeArray<TaskCompletionSource<bool>>()
    let heavy = ResizeArray<TaskCompletionSource<bool>>()

    /// Who waits for a request that is on disk now.
    member _.Add(request: AcceptedRequest, waiting: TaskCompletionSource<bool>) : unit =
        if request.Bytes <= lightBytes && request.Copies <= lightCopies then
            light.Add waiting
        else
            heavy.Add waiting

    /// Tells all that were added. To wake a thread of the pool and to go on there costs more than what most of them do until they
    /// wait for the network, so the light ones go on here, for a moment: nothing of theirs blocks.
    member _.Tell() : unit =
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
