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

    /// So many loops, which run until they are stopped.
    let startLoops (count: int) (failed: exn -> unit) : Transport =
        Transport.Loops(Array.init count (fun index -> EventLoop.Start($"loop {index}", failed)))

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
