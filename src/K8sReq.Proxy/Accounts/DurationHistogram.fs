namespace K8sReq.Proxy

open System
open System.Threading
open K8sReq.Core

/// How many durations fell where. From any thread.
[<Sealed>]
type DurationHistogram(seconds: float[]) =
    /// The bounds that OpenTelemetry gives durations of HTTP, in seconds.
    static let usual = [|
        0.005
        0.01
        0.025
        0.05
        0.075
        0.1
        0.25
        0.5
        0.75
        1.0
        2.5
        5.0
        7.5
        10.0
    |]

    let bounds = seconds |> Array.map (fun bound -> (TimeSpan.FromSeconds bound).Ticks)
    let counts = Array.zeroCreate<int64>(bounds.Length + 1)
    let mutable sum = 0L

    static member OfHttp() = DurationHistogram usual

    /// In seconds.
    member _.Bounds = seconds

    member _.Record(duration: TimeSpan) : unit =
        let ticks = duration.Ticks
        let mutable index = 0

        while index < bounds.Length && ticks > bounds[index] do
            index <- index + 1

        Interlocked.Increment(&counts[index]) |> ignore
        Interlocked.Add(&sum, ticks) |> ignore

    member _.Value: Distribution = {
        Bounds = seconds
        Counts = Array.map (fun (count: int64) -> count) counts
        Sum = (TimeSpan.FromTicks(Volatile.Read &sum)).TotalSeconds
    }
