namespace K8sReq.TestKit

open System
open System.Collections.Concurrent
open System.IO
open System.Runtime
open System.Runtime.InteropServices
open System.Threading
open K8sReq.Proxy

module private BlockedTurnsNative =
    // struct rusage of this thread (RUSAGE_THREAD): 18 numbers, the 17th of which counts voluntary context switches.
    [<DllImport("libc")>]
    extern int getrusage(int who, int64[] usage)

/// Looks for turns of an event loop that blocked: the thread slept in a call of the system, neither ran nor waited for a processor for
/// longer than it may, and it was not the runtime that held it (a collection of the heap, a method that is compiled, a lock that
/// was held).
[<Sealed>]
type BlockedTurns(found: ConcurrentQueue<string>) =
    static let longest = TimeSpan.FromMilliseconds 10.0
    // Of the loops of all proxies.
    static let foundInAll = ConcurrentQueue<string>()

    // Of this thread: nanoseconds on a processor, and nanoseconds in wait for one.
    let readSchedule () =
        let parts = (File.ReadAllText "/proc/thread-self/schedstat").Split ' '
        int64 parts[0] + int64 parts[1]

    // How often this thread has gone to sleep by itself. A machine that is held up as a whole is not counted there.
    let readSleeps () =
        let usage = Array.zeroCreate<int64> 18

        if BlockedTurnsNative.getrusage (1, usage) <> 0 then
            invalidOp "getrusage has failed."

        usage[16]

    let mutable scheduled = 0L
    let mutable sleeps = 0L
    let mutable collections = 0
    let mutable compiled = 0L
    let mutable contentions = 0L

    let collectionCount () = GC.CollectionCount 0

    /// Has the loops of every proxy that is started from now on looked at.
    static member Watch() : unit =
        if File.Exists "/proc/thread-self/schedstat" then
            Transport.observeTurns (fun () -> BlockedTurns foundInAll)

    /// The turns that blocked so far.
    static member Found: string list = List.ofSeq foundInAll

    interface TurnObserver with
        member _.Began() =
            scheduled <- readSchedule ()
            sleeps <- readSleeps ()
            collections <- collectionCount ()
            compiled <- JitInfo.GetCompiledMethodCount false
            contentions <- Monitor.LockContentionCount

        member _.Ended took =
            if took > longest then
                let ran = TimeSpan.FromMicroseconds(float (readSchedule () - scheduled) / 1000.0)
                let blocked = took - ran

                let isRuntime =
                    collectionCount () <> collections
                    || JitInfo.GetCompiledMethodCount false <> compiled
                    || Monitor.LockContentionCount <> contentions

                if blocked > longest && readSleeps () <> sleeps && not isRuntime then
                    found.Enqueue $"{blocked.TotalMilliseconds:F1} ms"
