namespace K8sReq.Host

open System
open System.Diagnostics
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Tasks

/// Signals that would end the process and must not.
module IgnoredSignals =
    // signal(7), Linux and macOS: a file has come to its size limit (`ulimit -f`). The write fails as well, and that is told.
    let private fileSizeExceeded = enum<PosixSignal> 25

    /// From now until the end of the process.
    let ignore () : unit =
        if not (OperatingSystem.IsWindows()) then
            PosixSignalRegistration.Create(fileSizeExceeded, (fun context -> context.Cancel <- true))
            |> GC.SuppressFinalize

/// SIGTERM and SIGINT, from now until it is disposed. A second signal ends the process at once.
[<Sealed>]
type TerminationSignals() =
    // One signal may come twice: `timeout` and some process managers send it to the process and to its group. Two within
    // this time count as one.
    static let repeats = TimeSpan.FromMilliseconds 250.0

    let received =
        TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously)

    let first = StrongBox 0L

    let isRepeated () =
        let now = Stopwatch.GetTimestamp()

        match Interlocked.CompareExchange(&first.Value, now, 0L) with
        | 0L -> true
        | first -> Stopwatch.GetElapsedTime(first, now) < repeats

    let register (signal: PosixSignal) =
        PosixSignalRegistration.Create(
            signal,
            fun context ->
                // Left to itself, the runtime would end the process now. The second time it may.
                context.Cancel <- isRepeated ()
                received.TrySetResult(string signal) |> ignore
        )
        :> IDisposable

    let registrations = [ register PosixSignal.SIGTERM; register PosixSignal.SIGINT ]

    /// Completed by the first signal, with its name.
    member _.Received: Task<string> = received.Task

    interface IDisposable with
        member _.Dispose() =
            for registration in registrations do
                registration.Dispose()
