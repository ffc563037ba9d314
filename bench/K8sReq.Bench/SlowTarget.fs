namespace K8sReq.Bench

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading.Tasks
open K8sReq.TestKit.HttpMessage

/// A target that takes five seconds for each response, while it is held; none otherwise. Between two peers' turns it is let go, so
/// that what waits for it does not come into the next one's.
[<Sealed>]
type SlowTarget() =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    let delay = TimeSpan.FromSeconds 5.0

    let mutable released =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    do released.SetResult()
    do listener.Start 4096

    let serve (client: TcpClient) : Task = task {
        try
            use client = client
            let stream = client.GetStream()
            let reader = MessageReader(stream, true)
            let mutable isOpen = true

            while isOpen do
                match! reader.Read() with
                | None -> isOpen <- false
                | Some _ ->
                    let! _ = Task.WhenAny(Task.Delay delay, released.Task)
                    do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
        with
        | :? IOException
        | :? SocketException
        | :? EndOfStreamException -> ()
    }

    let accepting: Task = task {
        try
            while true do
                let! client = listener.AcceptTcpClientAsync()
                serve client |> ignore
        with
        | :? SocketException
        | :? ObjectDisposedException -> ()
    }

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port

    /// From now on each response takes its time.
    member _.Hold() =
        released <- TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    /// Responds to everything at once: to what has come, and to what comes.
    member _.Release() = released.TrySetResult() |> ignore

    interface IDisposable with
        member target.Dispose() =
            target.Release()
            listener.Stop()
            accepting.GetAwaiter().GetResult()
