/// One scenario: its peers start, are warmed up, and take turns round by round.
module K8sReq.Bench.Contest

open System
open System.Diagnostics
open System.Threading.Tasks
open K8sReq.Bench.Report

/// Waits until nothing else uses more than so many cores, for at most a minute. Nothing of the benchmark runs meanwhile.
let private awaitQuiet (limit: float) : Task =
    let watch = Stopwatch.StartNew()

    let rec look () : Task = task {
        let before = MachineSample.read ()
        do! Task.Delay 1000
        let busy = MachineSample.read().Busy - before.Busy

        if busy.TotalSeconds > limit && watch.Elapsed < TimeSpan.FromMinutes 1.0 then
            return! look ()
    }

    look ()

/// A turn; once more, if the rest of the machine was too busy in it. It is not looked at what the turn gave.
let private turn (options: Options) (stage: Stage) (peer: StagedPeer) (round: int) : Task<Slice> =
    let rec attempt (left: int) : Task<Slice> = task {
        match options.Quiet with
        | Some limit -> do! awaitQuiet limit
        | None -> ()

        let! slice = Turn.measure stage peer round (TimeSpan.FromSeconds options.Seconds)
        do! stage.Quiet()

        eprintfn
            "  round %d, %s: %.1f µs, %.0f/s, others on the machine %.2f cores"
            round
            peer.Name
            slice.Cpu
            slice.Rate
            slice.Foreign

        match options.Quiet with
        | Some limit when slice.Foreign > limit && left > 0 -> return! attempt (left - 1)
        | _ -> return slice
    }

    attempt 1

/// All rounds of a scenario; progress goes to standard error.
let run
    (options: Options)
    (counter: SystemCalls.Counter option)
    (peers: Peer list)
    (scenario: Scenario)
    : Task<ScenarioResult> = task {
    let load = MachineSample.loadAverage ()
    eprintfn "%s; load average %s" scenario.Name load
    use stage = new Stage(scenario)

    for peer in peers do
        do! stage.Add(peer, options.WarmUp)

    let slices = ResizeArray<string * Slice>()

    for round in 1 .. options.Rounds do
        for peer in Rounds.order round stage.Peers do
            let! slice = turn options stage peer round
            slices.Add(peer.Name, slice)

    let calls = ResizeArray<string * float>()

    for peer in stage.Peers do
        match counter with
        | Some counter ->
            let! each =
                Turn.systemCalls counter stage peer (TimeSpan.FromSeconds options.Seconds)

            do! stage.Quiet()
            calls.Add(peer.Name, each)
        | None -> ()

    return {
        Scenario = scenario.Name
        LoadAverage = load
        Peers = [
            for peer in stage.Peers do
                {
                    Peer = peer.Name
                    Slices = [
                        for name, slice in slices do
                            if name = peer.Name then
                                slice
                    ]
                    SystemCalls = calls |> Seq.tryFind (fun (name, _) -> name = peer.Name) |> Option.map snd
                }
        ]
    }
}
