/// The tables, in Markdown.
module K8sReq.Bench.Report

open System

/// All turns of a peer in a scenario, in the order of the rounds.
type PeerResult = {
    Peer: string
    Slices: Slice list
    /// For each request; None if they were not counted.
    SystemCalls: float option
}

type ScenarioResult = {
    Scenario: string
    /// Of the machine, before the first round.
    LoadAverage: string
    Peers: PeerResult list
}

let private number (format: string) (value: float) =
    if Double.IsFinite value then
        value.ToString(format, Globalization.CultureInfo.InvariantCulture)
    else
        "–"

let private mib (bytes: int64) = float bytes / 1024.0 / 1024.0

let private medianOf (choose: Slice -> float) (result: PeerResult) =
    result.Slices |> List.map choose |> Statistics.median

/// The median of the ratios of each round, and the smallest and the largest of them.
let private ratio (choose: Slice -> float) (result: PeerResult) (baseline: PeerResult option) =
    match baseline with
    | None -> ""
    | Some baseline when baseline.Peer = result.Peer -> ""
    | Some baseline ->
        match
            Statistics.ratios (List.map choose result.Slices) (List.map choose baseline.Slices)
            |> List.filter Double.IsFinite
        with
        | [] -> "–"
        | ratios ->
            let text choose = number "0.00" (choose ratios)

            if text List.min = text List.max then
                text List.min
            else
                $"{text Statistics.median} ({text List.min}–{text List.max})"

let private row (cells: string list) = "| " + String.concat " | " cells + " |"

let private heading (cells: string list) = [ row cells; row (cells |> List.map (fun _ -> "---")) ]

let private losses (result: PeerResult) =
    match result.Slices |> List.sumBy _.Lost, result.Slices |> List.sumBy _.NotAccepted with
    | 0L, 0L -> "0"
    | lost, refused -> $"**{lost}** lost, **{refused}** not answered 202"

/// A line for each peer of each scenario. Figures are medians over the rounds; memory and losses are of all of them. CPU is
/// compared with each of these baselines, throughput with the first one.
let table (baselines: string list) (results: ScenarioResult list) : string list =
    let counts =
        results
        |> List.exists (fun result -> result.Peers |> List.exists _.SystemCalls.IsSome)

    heading [
        "scenario"
        "peer"
        "CPU µs"
        for baseline in baselines do
            $"of {baseline}"
        "user"
        "system"
        "switches"
        if counts then
            "system calls"
        "connects"
        "p50 ms"
        "p99 ms"
        "202/s"
        match baselines with
        | first :: _ -> $"of {first}"
        | [] -> ()
        "MiB"
        "grown"
        "lost"
    ]
    @ [
        for result in results do
            let find name =
                result.Peers |> List.tryFind (fun peer -> peer.Peer = name)

            for peer in result.Peers do
                let median choose = medianOf choose peer

                row [
                    result.Scenario
                    peer.Peer
                    number "0.0" (median _.Cpu)
                    for baseline in baselines do
                        ratio _.Cpu peer (find baseline)
                    number "0.0" (median (fun slice -> slice.Cpu * slice.UserShare))
                    number "0.0" (median (fun slice -> slice.Cpu * (1.0 - slice.UserShare)))
                    number "0.00" (median _.Switches)
                    if counts then
                        peer.SystemCalls |> Option.map (number "0.0") |> Option.defaultValue "–"
                    number "0.00" (median _.Connects)
                    number "0.00" (median _.P50)
                    number "0.00" (median _.P99)
                    number "0" (median _.Rate)
                    match baselines with
                    | first :: _ -> ratio _.Rate peer (find first)
                    | [] -> ()
                    number "0" (mib (peer.Slices |> List.map _.Memory |> List.max))
                    number
                        "+0;-0;0"
                        (mib (
                            (peer.Slices |> List.map _.Memory |> List.max)
                            - (List.head peer.Slices).MemoryBefore
                        ))
                    losses peer
                ]
    ]

/// Under which circumstances, a line for each scenario: what tells whether its figures can be believed.
let conditions (results: ScenarioResult list) : string list =
    heading [
        "scenario"
        "load average before"
        "sent late, p50 / p99 µs"
        "waited for a connection"
        "load generator, CPU µs"
        "idle peers, cores"
        "other processes, cores (most)"
    ]
    @ [
        for result in results do
            let slices = result.Peers |> List.collect _.Slices

            let median choose =
                slices |> List.map choose |> Statistics.median

            row [
                result.Scenario
                result.LoadAverage
                $"""{number "0" (median _.LateP50)} / {number "0" (median _.LateP99)}"""
                string (slices |> List.sumBy _.Waited)
                number "0.0" (median _.GeneratorCpu)
                number "0.000" (median _.IdlePeers)
                $"""{number "0.00" (median _.Foreign)} ({number "0.00" (slices |> List.map _.Foreign |> List.max)})"""
            ]
    ]
