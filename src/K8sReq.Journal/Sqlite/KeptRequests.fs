namespace K8sReq.Journal.Sqlite

open System.Collections.Generic
open System.Threading
open System.Threading.Tasks

/// Tells those who wait for a commit, on the thread pool, a few threads one after the other: to wake a thread for each of them
/// would cost more than to answer it. They go on there until they wait for something; one that goes on for long keeps a thread,
/// and the others go on with the next.
[<Sealed>]
type private Told(waiting: TaskCompletionSource<bool>[], isKept: bool) =
    let mutable last = -1

    interface IThreadPoolWorkItem with
        member _.Execute() =
            let mutable index = Interlocked.Increment &last

            while index < waiting.Length do
                waiting[index].TrySetResult isKept |> ignore
                index <- Interlocked.Increment &last

module KeptRequests =
    // So many more make one thread more worth it.
    let private perThread = 16

    /// A commit's: kept, or not.
    let tell (isKept: bool) (waiting: IReadOnlyCollection<TaskCompletionSource<bool>>) : unit =
        if waiting.Count > 0 then
            let told = Told(Array.ofSeq waiting, isKept)

            for _ in 1 .. min waiting.Count (2 + waiting.Count / perThread) do
                ThreadPool.UnsafeQueueUserWorkItem(told, false) |> ignore
