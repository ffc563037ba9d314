/// What has to go whatever ends this program: processes, mounts, folders.
module K8sReq.Crash.Resources

open System
open System.Collections.Generic
open System.Threading

// Guards the list below: the signal handler releases while the tests go on.
let private gate = Lock()
let private held = List<IDisposable>()

/// Remembers it. It must stand being disposed of twice.
let hold (resource: 'T :> IDisposable) : 'T =
    lock held (fun () -> held.Add resource)
    resource

/// Disposes of everything, the last one first. A failure is told, and the rest goes on.
let releaseAll () : unit =
    gate.Enter()

    try
        let resources =
            lock held (fun () ->
                let resources = held.ToArray()
                held.Clear()
                resources)

        for resource in Array.rev resources do
            try
                resource.Dispose()
            with error ->
                eprintfn "crash: left behind: %s" error.Message
    finally
        gate.Exit()

/// Runs it, and releases what it has held, also after SIGINT and SIGTERM, and once the time is over; gives the exit code.
let guard (limit: TimeSpan) (run: unit -> Threading.Tasks.Task<int>) : int =
    let stop code =
        releaseAll ()
        exit code

    let onSignal (context: Runtime.InteropServices.PosixSignalContext) =
        context.Cancel <- true
        stop 130

    use _ =
        Runtime.InteropServices.PosixSignalRegistration.Create(
            Runtime.InteropServices.PosixSignal.SIGINT,
            onSignal
        )

    use _ =
        Runtime.InteropServices.PosixSignalRegistration.Create(
            Runtime.InteropServices.PosixSignal.SIGTERM,
            onSignal
        )

    try
        let running = Threading.Tasks.Task.Run<int>(run)

        if running.Wait limit then
            running.Result
        else
            eprintfn "crash: not done within %O" limit
            1
    finally
        releaseAll ()
