namespace K8sReq.Attack

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit.HttpMessage

/// A well-behaved client with an address of its own, 127.0.0.2: a hundred requests a second on four connections that are
/// kept, each with a body of 1 KiB.
[<Sealed>]
type Neighbour(port: int) =
    let connections = 4
    let perConnection = 25.0
    let times = ConcurrentQueue<TimeSpan>()
    let statuses = ConcurrentQueue<int>()
    let mutable broken = 0

    let request =
        Encoding.Latin1.GetBytes
            $"POST /hook HTTP/1.1\r\nHost: neighbour.example\r\nContent-Length: 1024\r\n\r\n{String('x', 1024)}"

    let connect () = task {
        let client =
            new TcpClient(IPEndPoint(IPAddress.Parse "127.0.0.2", 0), NoDelay = true)

        do! client.ConnectAsync(IPAddress.Loopback, port)
        return client
    }

    // Sends on one connection until it breaks.
    let rec serve (stop: CancellationToken) : Task = task {
        try
            use! client = connect ()
            let stream = client.GetStream()
            let reader = MessageReader stream
            let mutable isOpen = true

            while isOpen && not stop.IsCancellationRequested do
                let watch = Stopwatch.StartNew()
                do! stream.WriteAsync(request, 0, request.Length)

                match! reader.Read().WaitAsync(TimeSpan.FromSeconds 30.0) with
                | Some answer ->
                    times.Enqueue watch.Elapsed
                    statuses.Enqueue(int (answer.Start.Split ' ').[1])
                    isOpen <- answer.Values "Connection" <> [ "close" ]
                | None ->
                    Interlocked.Increment &broken |> ignore
                    isOpen <- false

                do! Task.Delay(TimeSpan.FromSeconds(1.0 / perConnection))
        with
        | :? IOException
        | :? SocketException
        | :? TimeoutException ->
            Interlocked.Increment &broken |> ignore
            do! Task.Delay 100
    }

    member _.Run(stop: CancellationToken) : Task =
        Task.WhenAll [
            for _ in 1..connections ->
                task {
                    while not stop.IsCancellationRequested do
                        do! serve stop
                }
                :> Task
        ]

    /// Forgets what was measured.
    member _.Clear() =
        times.Clear()
        statuses.Clear()
        broken <- 0

    member _.Accepted = statuses |> Seq.filter ((=) 202) |> Seq.length
    member _.Refused = statuses |> Seq.filter ((<>) 202) |> Seq.length
    member _.Broken = broken

    /// Of all answers.
    member _.P99: TimeSpan =
        match times |> Seq.sort |> Array.ofSeq with
        | [||] -> TimeSpan.MaxValue
        | sorted -> sorted[min (sorted.Length - 1) (sorted.Length * 99 / 100)]
