/// Keeps copies in memory: what is accepted is lost with the process.
module K8sReq.Journal.MemoryStore

open System.Threading
open System.Threading.Tasks
open K8sReq.Proxy

let create () : CopyStore =
    let last = ref 0L

    {
        new CopyStore with
            member _.Append request =
                request.Number <- Interlocked.Increment &last.contents
                ValueTask<bool> true

            member _.MaySend _ _ = ValueTask<bool> true
            member _.Parked _ _ _ _ = ()
            // Nothing is durable here, so nothing is ever shelved.
            member _.Shelved request _ _ _ = request.CopyEnded()
            member _.Ended request _ _ = request.CopyEnded()
            member _.Died request _ _ _ _ _ = request.CopyEnded()
            member _.TryReserve _ _ = false
            member _.Release _ _ = ()
            member _.Backlog _ = Backlog.empty
            member _.Take _ _ _ = Task.FromResult []
    }
