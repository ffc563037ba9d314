namespace K8sReq.Journal.Sqlite

open System.Collections.Generic
open System.Threading
open System.Threading.Tasks

/// Tells those who wait for a commit, on the thread pool. Those of a commit one after the other, some of them at a time: to wake
/// a thread for each of them would cost more than to answer it. They go on there until they wait for something.
[<Sealed>]
type private Told(waiting: TaskCompletionSource<bool>[], isKept: bool) =
    interface IThreadPoolWorkItem with
        member _.Execute() =
            for one in waiting do
                one.TrySetResult isKept |> ignore

module KeptRequests =
    // Many go on at the same time where there are many.
    let private atOnce = 16

    /// A commit's: kept, or not.
    let tell (isKept: bool) (waiting: IReadOnlyCollection<TaskCompletionSource<bool>>) : unit =
        for some in Seq.chunkBySize atOnce waiting do
            ThreadPool.UnsafeQueueUserWorkItem(Told(some, isKept), false) |> ignore
