/// Keeps copies in memory: what is accepted is lost with the process.
module K8sReq.Journal.MemoryStore

open System.Threading
open System.Threading.Tasks
open K8sReq.Proxy

let create () : CopyStore =
    let last = ref 0L

    {
        new CopyStore() with
            override _.Append request =
                request.Number <- Interlocked.Increment &last.contents
                ValueTask<bool> true

            override _.MaySend _ _ = ValueTask<bool> true
            override _.Parked _ _ _ _ = ()
            // Nothing is durable here, so nothing is ever shelved.
            override _.Shelved request _ _ _ = request.CopyEnded()
            override _.Ended request _ _ = request.CopyEnded()
            override _.Died request _ _ _ _ _ = request.CopyEnded()
            override _.TryReserve _ _ = false
            override _.Release _ _ = ()
            override _.Backlog _ = Backlog.empty
            override _.Take _ _ _ = Task.FromResult []
    }
