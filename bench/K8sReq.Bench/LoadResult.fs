namespace K8sReq.Bench

open System

/// What a load of requests gave.
type LoadResult = {
    /// Requests that were due, or at saturation those that were sent.
    Due: int64
    /// Responses with 202, at most ten seconds after the end of the load.
    Accepted: int64
    /// Responses with 202 before its end.
    AcceptedInTime: int64
    Duration: TimeSpan
    /// From when a request was due to its response, in milliseconds, sorted. None at saturation.
    Latencies: float[]
    /// How late requests were sent that found a free connection, in microseconds, sorted: the generator's own error.
    Lateness: float[]
    /// Requests that were due while every connection was busy.
    Waited: int64
    /// CPU time of the generator.
    Cpu: TimeSpan
}

module LoadResult =
    /// Accepted requests a second.
    let rate (result: LoadResult) =
        float result.AcceptedInTime / result.Duration.TotalSeconds
