namespace K8sReq.Proxy

open System

/// What carries connections of clients and of targets.
[<RequireQualifiedAccess>]
type Transport =
    /// The runtime's sockets, on every system.
    | Sockets
    /// Event loops of our own: a client's requests and their copies stay on one of them. Linux only.
    | Loops of EventLoop[]

module Transport =
    /// Whether this system has what the loops need.
    let hasLoops: bool = OperatingSystem.IsLinux() && IntPtr.Size = 8

    /// How many loops there are by default: one per two processors. Each loop wakes by itself, so that the same requests cost more on
    /// two of them than on one (bench/RESULTS.md).
    let usualLoops (processors: int) : int = max 1 (processors / 2)

    // Makes one for each loop. For tests.
    let mutable private observing: (unit -> TurnObserver) option = None

    /// Has the turns of all loops that are started from now on observed. For tests.
    let observeTurns (create: unit -> TurnObserver) : unit = observing <- Some create

    /// So many loops, which run until they are stopped.
    let startLoops (count: int) (failed: exn -> unit) : Transport =
        let start (index: int) =
            let observer = observing |> Option.map (fun create -> create ())
            EventLoop.Start($"loop {index}", failed, ?observer = observer)

        Transport.Loops(Array.init count start)

    /// Of all loops together.
    let stalls (transport: Transport) : LoopStalls =
        match transport with
        | Transport.Sockets -> LoopStalls.none
        | Transport.Loops loops ->
            (LoopStalls.none, loops)
            ||> Array.fold (fun all loop -> LoopStalls.add all loop.Stalls)

    /// Ends the loops, once nothing is served by them any more.
    let stop (transport: Transport) : unit =
        match transport with
        | Transport.Sockets -> ()
        | Transport.Loops loops ->
            for loop in loops do
                loop.StopAsync() |> ignore
