namespace K8sReq.Bench

open System
open System.Diagnostics
open System.Threading.Tasks

/// Turns: a peer of a stage gets load, and what it, the targets and the machine did meanwhile is read.
module Turn =
    /// Everything that is read before and after.
    type private Reading = {
        Peers: Map<int, ProcessSample>
        Own: ProcessSample
        Targets: ProcessSample
        Machine: MachineSample
        At: int64
    }

    let private read (stage: Stage) = {
        Peers = Map [ for pid in stage.ProcessIds -> pid, ProcessSample.read pid ]
        Own = ProcessSample.read Environment.ProcessId
        Targets = ProcessSample.read stage.Targets.ProcessId
        Machine = MachineSample.read ()
        At = Stopwatch.GetTimestamp()
    }

    let private leadIn = TimeSpan.FromMilliseconds 500L

    let private run (scenario: Scenario) (seed: int) (duration: TimeSpan) (generator: LoadGenerator) =
        match Schedule.ofPace seed duration scenario.Pace with
        | Some schedule -> generator.Follow(schedule, duration)
        | None -> generator.Saturate(Int64.MaxValue, duration)

    /// One turn of this peer. All peers of a round get the same seed, and so the same schedule.
    let measure (stage: Stage) (peer: StagedPeer) (seed: int) (duration: TimeSpan) : Task<Slice> = task {
        let scenario = stage.Scenario
        stage.Hold()
        let! countsAtFirst = stage.Targets.Counts()

        let! before, counts, result =
            Stage.Load(
                peer,
                scenario,
                fun generator ->
                    // What has slept since its last turn wakes up. What would wait for a slow target comes into the turn.
                    let counts =
                        if scenario.HasSlowTarget then
                            countsAtFirst
                        else
                            let led = run scenario 0 leadIn generator

                            stage
                                .Settled(countsAtFirst.Requests + led.Accepted * int64 scenario.Targets)
                                .GetAwaiter()
                                .GetResult()

                    let before = read stage
                    before, counts, run scenario seed duration generator
            )

        let expected = result.Accepted * int64 scenario.Targets
        let! received = stage.Settled(counts.Requests + expected)
        let after = read stage

        let used (choose: Reading -> ProcessSample) =
            ProcessUse.between (choose before) (choose after)

        let usedBy pid = used _.Peers[pid]
        let own = usedBy peer.Running.ProcessId

        let others =
            stage.ProcessIds
            |> List.filter (fun pid -> pid <> peer.Running.ProcessId)
            |> List.sumBy (fun pid -> (usedBy pid).Cpu.TotalSeconds)

        let known =
            own.Cpu.TotalSeconds
            + others
            + (used _.Own).Cpu.TotalSeconds
            + (used _.Targets).Cpu.TotalSeconds

        let elapsed = Stopwatch.GetElapsedTime(before.At, after.At).TotalSeconds
        let each (value: float) = value / float (max 1L result.Accepted)

        let memory (reading: Reading) =
            reading.Peers[peer.Running.ProcessId].Memory

        return {
            Cpu = each own.Cpu.TotalMicroseconds
            UserShare = own.UserShare
            Switches = each (float own.Switches)
            Connects = each (float (received.Connections - counts.Connections))
            P50 = Statistics.percentile 0.5 result.Latencies
            P99 = Statistics.percentile 0.99 result.Latencies
            Rate = LoadResult.rate result
            Lost = expected - (received.Requests - counts.Requests)
            NotAccepted = result.Due - result.Accepted
            MemoryBefore = memory before
            Memory = memory after
            LateP50 = Statistics.percentile 0.5 result.Lateness
            LateP99 = Statistics.percentile 0.99 result.Lateness
            Waited = result.Waited
            GeneratorCpu = each result.Cpu.TotalMicroseconds
            IdlePeers = others / elapsed
            Foreign =
                max 0.0 ((after.Machine.Busy - before.Machine.Busy).TotalSeconds - known)
                / elapsed
        }
    }

    /// System calls for each request that was answered 202, in a turn that nothing else is taken from: counting slows a peer
    /// down.
    let systemCalls
        (counter: SystemCalls.Counter)
        (stage: Stage)
        (peer: StagedPeer)
        (duration: TimeSpan)
        : Task<float> = task {
        stage.Hold()

        let! count, result =
            SystemCalls.count counter peer.Running.ProcessId (fun () ->
                Stage.Load(peer, stage.Scenario, run stage.Scenario 0 duration))

        do! Task.Delay 200

        return
            match count with
            | Some count -> float count / float (max 1L result.Accepted)
            | None -> nan
    }
