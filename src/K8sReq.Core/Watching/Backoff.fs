/// How long to wait after failures in a row.
module K8sReq.Core.Backoff

open System

/// Doubles from `first` with each failure after the first, up to `longest`; by `jitter` (0 to 1) from half of that to
/// all of it, so that those who failed together do not come back together.
let delay (first: TimeSpan) (longest: TimeSpan) (failures: int) (jitter: float) : TimeSpan =
    let doublings = min 30 (max 0 (failures - 1))
    let full = min longest (first * Math.Pow(2.0, float doublings))
    full * (0.5 + 0.5 * jitter)
