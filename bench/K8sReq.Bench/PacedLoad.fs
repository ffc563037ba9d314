/// Load at a fixed rate, whose requests are sent when they are due, whether or not earlier ones have been answered; or as
/// fast as requests are answered.
namespace K8sReq.Bench

open System
open System.Collections.Generic
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks

type LoadResult = {
    /// Answers with 202.
    Accepted: int64
    /// Other answers.
    Other: int64
    /// From when a request was due, in milliseconds, sorted.
    Latencies: float[]
    Elapsed: TimeSpan
}

module LoadResult =
    let percentile (share: float) (result: LoadResult) =
        match result.Latencies with
        | [||] -> nan
        | sorted -> sorted[min (sorted.Length - 1) (int (share * float sorted.Length))]

    let rate (result: LoadResult) =
        float result.Accepted / result.Elapsed.TotalSeconds

/// How a client sends a request.
[<RequireQualifiedAccess>]
type ClientWrites =
    /// Head and body together, as ingress controllers and most libraries do.
    | One
    /// The head, then the body, as h2load does.
    | Two

module ClientWrites =
    /// The request in the pieces in which it is sent. One without a body is one piece.
    let pieces (writes: ClientWrites) (head: byte[]) (body: byte[]) : byte[] list =
        match writes with
        | ClientWrites.Two when body.Length > 0 -> [ head; body ]
        | ClientWrites.One
        | ClientWrites.Two -> [ Array.append head body ]

/// One connection, one request at a time.
[<Sealed>]
type private LoadConnection(port: int, request: byte[] list, finished: LoadConnection -> bool -> unit) =
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

    let buffer = Array.zeroCreate<byte> 4096

    /// When the request that is under way was due.
    member val DueAt = 0L with get, set

    /// Receives answers until the connection ends.
    member connection.Run() : Task = task {
        let mutable length = 0
        let mutable isOpen = true

        while isOpen do
            try
                let! count = socket.ReceiveAsync(buffer.AsMemory length)
                length <- length + count
                isOpen <- count > 0
            with
            | :? SocketException
            | :? ObjectDisposedException -> isOpen <- false

            // An answer without a body ends with its head.
            if isOpen && buffer.AsSpan(0, length).EndsWith("\r\n\r\n"B.AsSpan()) then
                length <- 0
                finished connection (buffer.AsSpan(9, 3).SequenceEqual("202"B.AsSpan()))
    }

    member _.Connect() =
        socket.Connect(IPAddress.Loopback, port)

    /// Does not wait, unless the system's buffer is full. What is sent on a connection that has ended is never answered.
    member _.Send() =
        try
            for piece in request do
                let mutable sent = 0

                while sent < piece.Length do
                    sent <- sent + socket.Send(piece, sent, piece.Length - sent, SocketFlags.None)
        with :? SocketException ->
            ()


    interface IDisposable with
        member _.Dispose() = socket.Dispose()

module PacedLoad =
    /// Sends `rate` requests a second over so many connections, for this time, and waits for the answers, for at most
    /// ten seconds more. What is due while every connection is busy waits for the first that is not, and that counts.
    let run
        (port: int)
        (request: byte[] list)
        (rate: float)
        (connections: int)
        (duration: TimeSpan)
        : LoadResult =
        let gate = Lock()
        let idle = Stack<LoadConnection>()
        let due = Queue<int64>()
        let latencies = ResizeArray<float>(int (rate * duration.TotalSeconds) + 1)
        let mutable accepted = 0L
        let mutable other = 0L

        let finished (connection: LoadConnection) isAccepted =
            let next =
                lock gate (fun () ->
                    latencies.Add(Stopwatch.GetElapsedTime(connection.DueAt).TotalMilliseconds)

                    if isAccepted then
                        accepted <- accepted + 1L
                    else
                        other <- other + 1L

                    match due.TryDequeue() with
                    | true, at ->
                        connection.DueAt <- at
                        true
                    | false, _ ->
                        idle.Push connection
                        false)

            if next then
                connection.Send()

        let all =
            List.init connections (fun _ -> new LoadConnection(port, request, finished))

        for connection in all do
            connection.Connect()
            connection.Run() |> ignore
            idle.Push connection

        let watch = Stopwatch.StartNew()
        let total = int64 (rate * duration.TotalSeconds)
        let mutable released = 0L

        while released < total do
            let now = min total (int64 (watch.Elapsed.TotalSeconds * rate))
            let at = Stopwatch.GetTimestamp()

            while released < now do
                released <- released + 1L

                let free =
                    lock gate (fun () ->
                        match idle.TryPop() with
                        | true, connection -> ValueSome connection
                        | false, _ ->
                            due.Enqueue at
                            ValueNone)

                match free with
                | ValueSome connection ->
                    connection.DueAt <- at
                    connection.Send()
                | ValueNone -> ()

            Thread.Sleep 1

        let elapsed = watch.Elapsed

        let isDone () =
            lock gate (fun () -> accepted + other >= total)

        while not (isDone ()) && watch.Elapsed < elapsed + TimeSpan.FromSeconds 10.0 do
            Thread.Sleep 5


        let result =
            lock gate (fun () -> {
                Accepted = accepted
                Other = other
                Latencies = latencies.ToArray() |> Array.sort
                Elapsed = elapsed
            })

        for connection in all do

            (connection :> IDisposable).Dispose()

        result

    /// Sends so many requests over so many connections, on each the next one when the one before has been answered.
    /// Waits for at most ten seconds without an answer.
    let saturate (port: int) (request: byte[] list) (connections: int) (total: int64) : LoadResult =
        let gate = Lock()
        let mutable begun = 0L
        let mutable accepted = 0L
        let mutable other = 0L
        let watch = Stopwatch()
        let mutable lastAnswer = TimeSpan.Zero

        // Under the lock: whether there is one more to send.
        let takeNext () =
            if begun < total then
                begun <- begun + 1L
                true
            else
                false

        let finished (connection: LoadConnection) isAccepted =
            let next =
                lock gate (fun () ->
                    if isAccepted then
                        accepted <- accepted + 1L
                    else
                        other <- other + 1L

                    lastAnswer <- watch.Elapsed
                    takeNext ())

            if next then
                connection.Send()

        let all =
            List.init connections (fun _ -> new LoadConnection(port, request, finished))

        for connection in all do
            connection.Connect()
            connection.Run() |> ignore

        watch.Start()

        for connection in all do
            if lock gate takeNext then
                connection.Send()

        let isOver () =
            lock gate (fun () ->
                accepted + other >= total
                || watch.Elapsed - lastAnswer > TimeSpan.FromSeconds 10.0)

        while not (isOver ()) do
            Thread.Sleep 5

        let result =
            lock gate (fun () -> {
                Accepted = accepted
                Other = total - accepted
                Latencies = [||]
                Elapsed = lastAnswer
            })

        for connection in all do
            (connection :> IDisposable).Dispose()

        result
