namespace K8sReq.Host.Proxy

open System
open System.Collections.Generic
open System.Net
open System.Net.Sockets
open System.Threading
open K8sReq.Core

/// The connections to one address. The one that was used last is used next, so that those which are not needed any more
/// grow old. From many threads at once.
[<Sealed>]
type TargetPool
    (clock: TimeProvider, timeouts: SendTimeouts, endpoint: IPEndPoint, emptied: TargetPool -> unit) =
    let gate = Lock()
    let all = HashSet<TargetConnection>()
    let idle = List<TargetConnection>()
    let mutable isClosing = false

    let tryTake () : TargetConnection | null =
        lock gate (fun () ->
            if idle.Count = 0 then
                null
            else
                let last = idle[idle.Count - 1]
                idle.RemoveAt(idle.Count - 1)
                last)

    member private pool.Connect(attempt: Attempt) =
        let made =
            try
                Ok(TargetConnection(clock, timeouts, endpoint, pool))
            // The process has no descriptor left for it.
            with :? SocketException as error ->
                Error(TargetOutcome.ConnectFailed error.Message)

        match made with
        | Ok connection ->
            lock gate (fun () -> all.Add connection |> ignore)
            connection.Connect attempt
        | Error outcome -> attempt.Complete(SendResult.ofOutcome outcome)

    /// Sends over a connection that is idle, or over a new one.
    member pool.Send(attempt: Attempt) : unit =
        let mutable isSent = false

        while not isSent do
            match tryTake () with
            | null ->
                pool.Connect attempt
                isSent <- true
            | connection -> isSent <- connection.TryBegin attempt

    /// Gives up the attempts that are under way.
    member _.Cancel() : unit =
        for connection in lock gate (fun () -> Array.ofSeq all) do
            connection.Cancel()

    /// Closes what is idle, and what will be.
    member _.Close() : unit =
        lock gate (fun () -> isClosing <- true)

        for connection in lock gate (fun () -> Array.ofSeq all) do
            connection.CloseUnlessBusy()

    interface ConnectionOwner with
        member _.Returned connection =
            let isKept =
                lock gate (fun () ->
                    if not isClosing then
                        idle.Add connection

                    not isClosing)

            // It may have ended before it was here to be taken away.
            if not isKept then
                connection.CloseUnlessBusy()
            elif connection.IsClosed then
                lock gate (fun () -> idle.Remove connection |> ignore)

        member pool.Closed connection =
            let isEmpty =
                lock gate (fun () ->
                    all.Remove connection |> ignore
                    idle.Remove connection |> ignore
                    all.Count = 0)

            if isEmpty then
                emptied pool

        member pool.Ended(attempt, result, mayRepeat) =
            // Once more, over a connection that nobody has used. It is part of the same attempt.
            if mayRepeat then
                pool.Connect attempt
            else
                attempt.Complete result
