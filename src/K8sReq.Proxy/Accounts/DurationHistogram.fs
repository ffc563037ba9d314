namespace K8sReq.Proxy

open System
open System.Threading
open K8sReq.Core

/// How many durations fell where. From any thread.
[<Sealed>]
type DurationHistogram private (seconds: float[], bounds: int64[]) =
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

    // One array for all histograms: it is in the cache whichever of them was used last.
    static let usualTicks =
        usual |> Array.map (fun bound -> (TimeSpan.FromSeconds bound).Ticks)

    // First the sum of the durations in ticks, then how many fell where: what is written together is beside each other.
    let cells = Array.zeroCreate<int64>(bounds.Length + 2)

    static member OfHttp() = DurationHistogram(usual, usualTicks)

    /// In seconds.
    member _.Bounds = seconds

    member _.Record(duration: TimeSpan) : unit =
        let ticks = duration.Ticks
        let mutable index = 0

        // From the shortest: most deliveries take less than the first bound.
        while index < bounds.Length && ticks > bounds[index] do
            index <- index + 1

        Interlocked.Add(&cells[0], ticks) |> ignore
        Interlocked.Increment(&cells[1 + index]) |> ignore

    member _.Value: Distribution = {
        Bounds = seconds
        Counts = cells[1..]
        Sum = (TimeSpan.FromTicks(Volatile.Read &cells[0])).TotalSeconds
    }
