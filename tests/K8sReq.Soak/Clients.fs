namespace K8sReq.Soak

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit

/// What a client knows of one of its requests.
[<RequireQualifiedAccess>]
type Ended =
    | Answered of status: int
    /// Sent whole, and the connection ended without an answer.
    | Unanswered
    /// Given up by the client within the request.
    | CutOff

/// Clients that send at a fixed rate, whatever the answers do, and note what becomes of each request.
[<Sealed>]
type Clients(port: int, hostOf: int -> string) =
    let ended = ConcurrentDictionary<int, Ended>()
    let latencies = ConcurrentQueue<TimeSpan>()
    let mutable next = -1

    // One in a hundred goes away within its request.
    let isCutOff number = number % 100 = 57

    let send (client: TestClient) number (due: int64) = task {
        let bytes = Payload.request (hostOf number) number

        if isCutOff number then
            do! client.SendBytes bytes[.. bytes.Length / 2]
            client.Reset()
            ended[number] <- Ended.CutOff
            return false
        else
            ended[number] <- Ended.Unanswered
            do! client.SendBytes bytes

            match! client.TryAnswer() with
            | None -> return false
            | Some answer ->
                ended[number] <- Ended.Answered(TestClient.status answer)
                // From when it should have been sent: a late start is the proxy's doing, too.
                latencies.Enqueue(Stopwatch.GetElapsedTime due)
                return answer.Values "Connection" <> [ "close" ]
    }

    let isEnded (error: exn) =
        error :? IOException
        || error :? SocketException
        || error :? ObjectDisposedException

    // One connection after the other, each for many requests.
    let work (interval: TimeSpan) (start: int64) (stop: CancellationToken) = task {
        let mutable client: TestClient option = None
        let mutable due = start

        try
            while not stop.IsCancellationRequested do
                let wait = -(Stopwatch.GetElapsedTime due)

                if wait > TimeSpan.Zero then
                    do! Task.Delay wait

                try
                    if client.IsNone then
                        let! connected = TestClient.Connect port
                        client <- Some connected

                    let! isOpen = send client.Value (Interlocked.Increment &next) due

                    if not isOpen then
                        (client.Value :> IDisposable).Dispose()
                        client <- None
                with error when isEnded error ->
                    client |> Option.iter (fun broken -> (broken :> IDisposable).Dispose())
                    client <- None

                due <- due + int64 (interval.TotalSeconds * float Stopwatch.Frequency)
        finally
            client |> Option.iter (fun last -> (last :> IDisposable).Dispose())
    }

    member _.Ended = ended

    /// Times from when a request was due to its answer, sorted.
    member _.Latencies = latencies.ToArray() |> Array.sort

    /// Sends this many requests a second until it is told to stop.
    member _.Run(connections: int, rate: float, stop: CancellationToken) : Task =
        let interval = TimeSpan.FromSeconds(float connections / rate)
        let now = Stopwatch.GetTimestamp()

        let starts =
            List.init connections (fun n ->
                now
                + int64 (float n / float connections * interval.TotalSeconds * float Stopwatch.Frequency))

        Task.WhenAll [ for start in starts -> work interval start stop :> Task ]
