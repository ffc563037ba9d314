/// What `perf` has met on event loops and the journal's thread.
module K8sReq.Bench.MethodSamples

open System
open System.Text.RegularExpressions

// "loop 0  7f2a… K8sReq_Proxy_…__Send (/path/k8sreq)". What has no name of ours is the runtime's own, which the compiler does not place.
let private sample =
    Regex(
        @"^\s*(loop \d+|journal)\s+[0-9a-f]+\s+(?<method>[A-Za-z_][^\s:]*)\s+\((?<file>[^)]*)\)\s*$",
        RegexOptions.Multiline
    )

/// How often each method of this file was met on an event loop or the journal's thread, in what `perf script -F comm,ip,sym,dso` prints.
let count (file: string) (samples: string) : Map<string, int> =
    sample.Matches samples
    |> Seq.filter (fun line -> line.Groups["file"].Value = file)
    |> Seq.map _.Groups["method"].Value
    |> Seq.filter (fun name -> not (name.StartsWith("Rh", StringComparison.Ordinal)))
    |> Seq.countBy id
    |> Map.ofSeq
