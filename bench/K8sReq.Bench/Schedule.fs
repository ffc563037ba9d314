namespace K8sReq.Bench

open System

/// How requests come. Rates are in requests a second.
[<RequireQualifiedAccess>]
type Pace =
    /// At equal distances, nearly.
    | Even of rate: float
    /// Independent of each other, as the requests of many clients are.
    | Poisson of rate: float
    /// The next one on each connection as soon as the one before has its response.
    | Saturation

/// When each request is due, in nanoseconds after the start.
module Schedule =
    // Linux divides CPU time into user and system time by looking at its clock ticks what is running. Requests in step with
    // the ticks would be looked at in the same moment each, so every tenth of a second begins at another phase.
    let private phase (tenth: int) =
        // Multiples of the golden ratio are spread evenly over [0, 1).
        float tenth * 0.6180339887498949 % 1.0

    /// At equal distances, but for the first one of each tenth of a second.
    let even (rate: float) (duration: TimeSpan) : int64[] =
        Array.init (int (rate * duration.TotalSeconds)) (fun index ->
            let tenth = int (float index * 10.0 / rate)
            int64 ((float index + phase tenth) * 1e9 / rate))

    /// The distances are exponentially distributed. The same seed gives the same schedule.
    let poisson (seed: int) (rate: float) (duration: TimeSpan) : int64[] =
        let random = Random seed
        // 1 - u is in (0, 1]: its logarithm is finite.
        let gap () =
            -(log (1.0 - random.NextDouble())) * 1e9 / rate

        gap ()
        |> Array.unfold (fun due ->
            if due < float duration.Ticks * 100.0 then
                Some(int64 due, due + gap ())
            else
                None)

    /// None for saturation, which has no schedule.
    let ofPace (seed: int) (duration: TimeSpan) (pace: Pace) : int64[] option =
        match pace with
        | Pace.Even rate -> Some(even rate duration)
        | Pace.Poisson rate -> Some(poisson seed rate duration)
        | Pace.Saturation -> None
