/// Keeps copies in memory: what is accepted is lost with the process.
module K8sReq.Journal.MemoryStore

open System.Threading
open System.Threading.Tasks
open K8sReq.Proxy

let create () : CopyStore =
    let last = ref 0L

    {
        Append =
            fun request ->
                request.Number <- Interlocked.Increment &last.contents
                ValueTask<bool> true
        Parked = fun _ _ _ _ -> ()
        // Nothing is durable here, so nothing is ever shelved.
        Shelved = fun request _ _ _ -> request.CopyEnded()
        Ended = fun request _ _ -> request.CopyEnded()
        Died = fun request _ _ _ _ _ -> request.CopyEnded()
        MaySend = fun _ _ -> ValueTask<bool> true
        TryReserve = fun _ _ -> false
        Release = fun _ _ -> ()
        Backlog = fun _ -> Backlog.empty
        Take = fun _ _ _ -> Task.FromResult []
    }
