namespace K8sReq.Host.Commands

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// Takes signals from any thread, decides with `Lifecycle.step` and starts what is to be done, each action on its own: one
/// that hangs keeps no signal waiting. An action gives the signal that comes of it.
[<Sealed>]
type LifecycleRunner(delay: TimeSpan, perform: LifecycleAction -> Task<LifecycleSignal option>) =
    // Guards `state`. Nothing is performed with it held.
    let gate = Lock()
    let mutable state = Lifecycle.initial

    let ended =
        TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously)

    let rec post (signal: LifecycleSignal) : unit =
        let action, exitCode =
            exclusively gate (fun () ->
                let next, action = Lifecycle.step delay state signal
                state <- next
                action, next.ExitCode)

        if action <> LifecycleAction.Nothing then
            Task.Run<unit>(Func<Task<unit>>(fun () -> run action exitCode)) |> ignore

    and run (action: LifecycleAction) (exitCode: int) : Task<unit> = task {
        try
            let! signal = perform action
            Option.iter post signal

            if action = LifecycleAction.Release then
                ended.TrySetResult exitCode |> ignore
        with error ->
            // A defect: nothing would ever end the program otherwise.
            ended.TrySetException error |> ignore
    }

    member _.Post(signal: LifecycleSignal) : unit = post signal

    /// Completed once everything has been given back, with the exit code. Throws what an action has thrown.
    member _.Ended: Task<int> = ended.Task
