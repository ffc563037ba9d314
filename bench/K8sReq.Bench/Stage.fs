namespace K8sReq.Bench

open System
open System.Diagnostics
open System.Threading.Tasks

/// A peer that is up, with its name in the table.
type StagedPeer = { Name: string; Running: RunningPeer }

/// The targets of a scenario and all its peers, which stay up until it is over: no round begins with a cold process.
[<Sealed>]
type Stage(scenario: Scenario) =
    // Bodies beyond 16 KiB may still be on their way when their headers have been read.
    let targets =
        new NginxTargets(scenario.Targets, scenario.Response, scenario.BodyLength > 16_384)

    let slow =
        if scenario.HasSlowTarget then
            Some(new SlowTarget())
        else
            None

    let peers = ResizeArray<StagedPeer>()

    member _.Scenario = scenario
    member _.Targets = targets
    member _.Peers = List.ofSeq peers

    /// The target of five seconds, if there is one, takes them from now on.
    member _.Hold() = slow |> Option.iter _.Hold()

    member _.ProcessIds = peers |> Seq.map _.Running.ProcessId |> List.ofSeq

    /// Runs a load on a thread of its own, for it occupies it.
    static member Load(peer: StagedPeer, scenario: Scenario, load: LoadGenerator -> 'result) : Task<'result> =
        Task.Factory.StartNew(
            (fun () ->
                use generator =
                    new LoadGenerator(peer.Running.Port, Scenario.request scenario, scenario.Connections)

                load generator),
            TaskCreationOptions.LongRunning
        )

    /// Waits until the targets have got this many requests, for at most five seconds; what they have got.
    member _.Settled(expected: int64) : Task<TargetCounts> = task {
        let watch = Stopwatch.StartNew()
        let! first = targets.Counts()
        let mutable now = first

        while now.Requests < expected && watch.Elapsed < TimeSpan.FromSeconds 5.0 do
            do! Task.Delay 50
            let! next = targets.Counts()
            now <- next

        return now
    }

    /// Lets go of the slow target, and waits until no peer has anything to do, for at most ten seconds.
    member stage.Quiet() : Task = task {
        slow |> Option.iter _.Release()
        let watch = Stopwatch.StartNew()

        let used () =
            stage.ProcessIds
            |> List.sumBy (fun pid ->
                (ProcessSample.read pid).Threads
                |> Map.toSeq
                |> Seq.sumBy (fun (_, thread) -> thread.Cpu))

        let mutable isBusy = true

        while isBusy && watch.Elapsed < TimeSpan.FromSeconds 10.0 do
            let before = used ()
            do! Task.Delay 200
            // 5 ms in 200.
            isBusy <- used () - before > 5_000_000L
    }

    /// Starts a peer, and gives it so many requests as fast as they are answered, for at most 15 seconds, then two seconds
    /// of the scenario's pace: code is compiled and connections are made before the first round.
    member stage.Add(peer: Peer, warmUp: int64) : Task = task {
        let ports = targets.Ports @ (slow |> Option.map _.Port |> Option.toList)
        let! running = peer.Start (Scenario.hosts scenario) ports
        let staged = { Name = peer.Name; Running = running }
        peers.Add staged

        let! _ =
            Stage.Load(
                staged,
                scenario,
                fun generator ->
                    generator.Saturate(warmUp, TimeSpan.FromSeconds 15.0) |> ignore
                    stage.Hold()
                    let pace = TimeSpan.FromSeconds 2.0

                    match Schedule.ofPace 0 pace scenario.Pace with
                    | Some schedule -> generator.Follow(schedule, pace)
                    | None -> generator.Saturate(Int64.MaxValue, pace)
            )

        do! stage.Quiet()
    }

    interface IDisposable with
        member _.Dispose() =
            for peer in peers do
                peer.Running.Owned.Dispose()

            slow |> Option.iter (fun target -> (target :> IDisposable).Dispose())
            (targets :> IDisposable).Dispose()
