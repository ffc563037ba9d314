/// Medians, percentiles and ratios of a few samples.
module K8sReq.Bench.Statistics

/// The middle value, or the mean of the two in the middle. nan if there is none.
let median (values: float list) : float =
    match List.sort values with
    | [] -> nan
    | sorted ->
        let middle = sorted.Length / 2

        if sorted.Length % 2 = 1 then
            sorted[middle]
        else
            (sorted[middle - 1] + sorted[middle]) / 2.0

/// The value below which this share of the sorted ones lies. nan if there is none.
let percentile (share: float) (sorted: float[]) : float =
    match sorted with
    | [||] -> nan
    | _ -> sorted[min (sorted.Length - 1) (int (share * float sorted.Length))]

/// Each value divided by its counterpart of the same round: what both of a round have in common, a slow minute of the
/// machine for one, is no part of it.
let ratios (values: float list) (baseline: float list) : float list =
    if values.Length = baseline.Length then
        List.map2 (/) values baseline
    else
        []
