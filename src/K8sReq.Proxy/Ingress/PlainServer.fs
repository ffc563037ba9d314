namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks

/// Serves the plain requests of connections on loops (`PlainConnection`), and leaves all others to the server.
[<Sealed>]
type PlainServer(services: DuplicateServices, shares: ClientShares, limits: PlainLimits, loops: EventLoop[]) =
    let owns = loops |> Array.map (fun _ -> PlainLoop(services, shares, limits))

    let sweep (own: PlainLoop) =
        for connection in Array.ofSeq own.Connections do
            connection.Sweep()

    let sweeps = owns |> Array.map (fun own -> Action(fun () -> sweep own))

    do
        for index in 0 .. loops.Length - 1 do
            loops[index].Run(fun () -> loops[index].Tick sweeps[index])

    // On each loop; completed once it was done on all of them.
    let onAll (work: EventLoop -> PlainLoop -> Action -> unit) : Task =
        let isDone (index: int) =
            let ended = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            loops[index]
                .Run(fun () ->
                    work loops[index] owns[index] sweeps[index]
                    ended.SetResult())

            ended.Task

        Task.WhenAll(Array.init loops.Length isDone)

    // On the loop: ends the connections that wait, and tells when the last one has ended.
    let endIdle (own: PlainLoop) : Task =
        own.IsStopping <- true

        for connection in Array.ofSeq own.Connections do
            connection.EndWhenIdle()

        if own.Connections.Count = 0 then
            Task.CompletedTask
        else
            let emptied =
                TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            own.Emptied <- emptied
            emptied.Task

    interface LoopServer with
        member _.Serve client =
            let own = owns[Array.IndexOf(loops, client.Loop)]

            if own.IsStopping then
                client.Refuse()
            else
                PlainConnection(own, client).Start()

        member _.StopAsync giveUp = task {
            let ending = ConcurrentBag<Task>()
            do! onAll (fun _ own _ -> ending.Add(endIdle own))

            try
                // Requests under way end by themselves, within the time for a body and that for the journal.
                do! Task.WhenAll(ending).WaitAsync giveUp
            with :? OperationCanceledException ->
                do!
                    onAll (fun _ own _ ->
                        for connection in Array.ofSeq own.Connections do
                            connection.Abort())

            do! onAll (fun loop _ sweep -> loop.StopTick sweep)
        }
