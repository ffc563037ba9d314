/// Pages of replicas that are in a state of our choice: what they tell of is made up, and they are served by the page's own
/// handler. The clock stands still.
namespace K8sReq.Host.Tests

open System
open System.Net
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open K8sReq.Core
open K8sReq.Host.Admin.DeadLetters
open K8sReq.Host.Admin.Status
open K8sReq.Proxy
open K8sReq.TestKit

/// A RequestClone of a scene, and what happens to its copies.
type SceneRoute = {
    Name: string
    Host: string
    /// None: the Service is missing.
    Address: IPAddress option
    Delivery: DeliveryPolicy
    /// Copies that were lost before the last ten minutes.
    LostBefore: int64
    /// Of each ten seconds of the last ten minutes, by their number from 0 to 59.
    Delivered: int -> int
    Failed: int -> int
    Dropped: int -> int
    Outcome: TargetOutcome
    Took: TimeSpan
    /// Copies in the queue, and in the journal.
    Queued: int
    Stored: StoredCopies
}

module SceneRoute =
    let private nothing (_: int) = 0

    /// One that delivers so many copies in each ten seconds.
    let delivering (name: string) (host: string) (count: int) : SceneRoute = {
        Name = name
        Host = host
        Address = Some(IPAddress.Parse "10.96.14.7")
        Delivery = DeliveryPolicy.byDefault
        LostBefore = 0L
        Delivered = fun slot -> count + (slot * 7 + name.Length) % (1 + count / 2)
        Failed = nothing
        Dropped = nothing
        Outcome = TargetOutcome.Rejected 503
        Took = TimeSpan.FromMilliseconds 18.0
        Queued = 0
        Stored = {
            Backlog = 0L
            OldestAge = TimeSpan.Zero
            DeadLetters = 0L
        }
    }

    let idle (name: string) (host: string) : SceneRoute = {
        delivering name host 0 with
            Delivered = nothing
    }

    /// One that delivered until this slot, and fails since.
    let failing (name: string) (host: string) (count: int) (since: int) : SceneRoute = {
        delivering name host count with
            Delivered = fun slot -> if slot < since then count else 0
            Failed = fun slot -> if slot < since then 0 else count
    }

type Scene = {
    Routes: SceneRoute list
    UnknownHosts: (string * int) list
    HasJournal: bool
    Replicas: int option
    IsReady: bool
}

module Scene =
    let empty = {
        Routes = []
        UnknownHosts = []
        HasJournal = false
        Replicas = None
        IsReady = true
    }

    let private service (route: SceneRoute) : BackendService option =
        route.Address
        |> Option.map (fun address -> {
            Key = ObjectKey.create "shop" route.Name
            Address = ServiceAddress.ClusterIP address
            Ports = [
                {
                    Name = Some "http"
                    Number = 8080
                    Protocol = "TCP"
                    AppProtocol = None
                }
            ]
        })

    let private clone (at: DateTimeOffset) (route: SceneRoute) : RequestClone = {
        Key = ObjectKey.create "shop" route.Name
        Spec =
            match HostName.parse route.Host with
            | Ok host ->
                Ok {
                    CloneSpec.create host route.Name (PortRef.Named "http") with
                        Delivery = route.Delivery
                }
            | Error error -> failwith $"{error}"
        Observed =
            Some {
                Uid = route.Name
                Generation = 1L
                StatusGeneration = None
                Ready =
                    Some {
                        IsReady = Some route.Address.IsSome
                        Reason = ""
                        Message = ""
                        ObservedGeneration = None
                        LastTransition = Some(at - TimeSpan.FromMinutes 41.0)
                    }
            }
    }

    let private table (at: DateTimeOffset) (scene: Scene) : RouteTable =
        ClusterState.fold ClusterState.initial [
            for route in scene.Routes do
                match service route with
                | Some service -> ClusterEvent.ServiceApplied service
                | None -> ()

                ClusterEvent.CloneApplied(clone at route)
        ]
        |> RouteTable.ofState

    let private play
        (clock: TestClock)
        (clones: CloneDirectory)
        (targets: Map<ObjectKey, Target>)
        (scene: Scene)
        =
        let statistics (route: SceneRoute) =
            (clones.Of(ObjectKey.create "shop" route.Name)).Statistics

        let finish (route: SceneRoute) (outcome: TargetOutcome) (count: int) =
            let statistics = statistics route
            let key = ObjectKey.create "shop" route.Name

            for _ in 1..count do
                statistics.Accept()

                if not (TargetOutcome.isDelivered outcome || TargetOutcome.isDropped outcome) then
                    for _ in 1 .. route.Delivery.Retry.Retries do
                        statistics.Retry()

                statistics.End(outcome, route.Took)

            match targets.TryFind key with
            | Some target when count > 0 ->
                if not (TargetOutcome.isDelivered outcome) then
                    statistics.Keep {
                        At = clock.GetUtcNow()
                        Target = target
                        Outcome = outcome
                        Attempts = 1 + route.Delivery.Retry.Retries
                        Duration = route.Took
                        TraceId = ""
                    }
                elif statistics.WantsDelivery then
                    statistics.KeepDelivered {
                        At = clock.GetUtcNow()
                        Endpoint = target.Endpoint
                        Status = 200
                        Attempts = 1
                        Duration = route.Took
                        TraceId = ""
                    }
            | _ -> ()

        for route in scene.Routes do
            if route.LostBefore > 0L then
                (statistics route).Recover route.LostBefore
                (statistics route).Fail route.LostBefore

        for slot in -1 .. 59 do
            for route in scene.Routes do
                if slot >= 0 then
                    finish route (TargetOutcome.Delivered 200) (route.Delivered slot)
                    finish route route.Outcome (route.Failed slot)
                    finish route TargetOutcome.Overflowed (route.Dropped slot)

            clock.Advance CopyHistory.SlotLength

            for route in scene.Routes do
                (statistics route).CloseSlot(clock.GetUtcNow())

        for route in scene.Routes do
            match targets.TryFind(ObjectKey.create "shop" route.Name) with
            | Some target when route.Queued > 0 ->
                let entry = clones.Of target.Clone

                let limits = {
                    Concurrency = 1
                    QueueBytes = 1_000_000_000L
                }

                let events = {
                    Overflowed = ignore
                    Recovered = fun _ _ -> ()
                }

                let lane = Lane(clock, Turns 1, target, limits, events, entry.Statistics)
                entry.Add lane

                for _ in 0 .. route.Queued do
                    entry.Statistics.Accept()
                    lane.TryEnter 2_048L |> ignore
            | _ -> ()

            (statistics route).Recover route.Stored.Backlog

        clock.Advance(TimeSpan.FromSeconds 7.0)

    let private sum (clones: CloneDirectory) : CopyTotals =
        (CopyTotals.zero, clones.Unordered)
        ||> Seq.fold (fun sum entry ->
            let totals = entry.Statistics.Totals

            {
                sum with
                    Accepted = sum.Accepted + totals.Accepted
                    Recovered = sum.Recovered + totals.Recovered
                    Delivered = sum.Delivered + totals.Delivered
                    Failed = sum.Failed + totals.Failed
                    Dropped = sum.Dropped + totals.Dropped
                    Retries = sum.Retries + totals.Retries
            })

    let private journal (scene: Scene) : StatusJournal =
        let stored =
            Map.ofList [
                for route in scene.Routes -> ObjectKey.create "shop" route.Name, route.Stored
            ]

        {
            Of = fun key -> stored[key]
            All =
                fun () -> {
                    Backlog = stored.Values |> Seq.sumBy _.Backlog
                    OldestAge = stored.Values |> Seq.map _.OldestAge |> Seq.max
                    DeadLetters = stored.Values |> Seq.sumBy _.DeadLetters
                }
        }

    /// What the page of a replica in this state reads.
    let sources (scene: Scene) : StatusSources =
        let clock = TestClock()
        clock.SetUtcNow(DateTimeOffset(2026, 3, 12, 13, 52, 0, TimeSpan.Zero))
        let table = table (clock.GetUtcNow()) scene

        let targets =
            Map.ofList [
                for clone in table.Clones.Values do
                    match clone.Resolved with
                    | Ok target -> clone.Clone.Key, target
                    | Error _ -> ()
            ]

        let clones = CloneDirectory()
        let source = SourceMetrics clock
        play clock clones targets scene

        if scene.IsReady then
            source.Synced "RequestClones"

        source.IsLeading <- true
        source.Leader <- "k8sreq-0"

        let unknown =
            (UnknownHosts.empty, scene.UnknownHosts)
            ||> List.fold (fun hosts (host, count) ->
                (hosts, seq { 1..count })
                ||> Seq.fold (fun hosts _ ->
                    let struct (hosts, _) =
                        UnknownHosts.note
                            (clock.GetUtcNow() - TimeSpan.FromSeconds(float count * 20.0))
                            host
                            hosts

                    hosts))

        let totals = sum clones

        {
            Version = "1.4.0+3f9c2a7d81e04b5566778899aabbccddeeff0011"
            Instance = "k8sreq-0"
            StartedAt = clock.GetUtcNow() - TimeSpan.FromHours 19.0
            Clock = clock
            IsReady = fun () -> scene.IsReady
            Table = fun () -> table
            Counts =
                fun () -> {
                    Hosts = table.Clones.Count
                    Targets = targets.Count
                    Unrouted = table.Clones.Count - targets.Count
                }
            Clones = clones
            Totals = fun () -> totals
            Requests =
                fun () -> [
                    {
                        Status = 202
                        Reason = ""
                        Count = totals.Accepted
                    }
                    {
                        Status = 503
                        Reason = "no_route"
                        Count = scene.UnknownHosts |> List.sumBy (snd >> int64)
                    }
                ]
            UnknownHosts = fun () -> unknown
            Tap = Tap()
            Source = source
            Budget = BufferBudget(256L * 1048576L)
            Journal = if scene.HasJournal then Some(journal scene) else None
            DeadLetters = DeadLetterService(None, fun _ -> true)
            Replicas = fun () -> scene.Replicas
        }

/// A scene that is served.
[<Sealed>]
type SceneServer private (server: HttpServer) =
    member _.Url = $"http://localhost:{server.Port}/"

    static member Start(scene: Scene) : Task<SceneServer> = task {
        let address = {
            Host = ListenHost.Localhost
            Port = 0
        }

        let limits: ServerLimits = {
            Headers = TimeSpan.FromSeconds 10.0
            Idle = TimeSpan.FromMinutes 1.0
            Connections = None
            Memory = None
            HighestDescriptor = Int32.MaxValue
            Exhausted = ignore
        }

        let handler =
            StatusPage.handler (Scene.sources scene) address StatusPage.usualInterval CancellationToken.None

        match! HttpServer.start NullLoggerFactory.Instance ServerTransport.Pooled limits address handler with
        | Ok server -> return new SceneServer(server)
        | Error error -> return failwith $"{error}"
    }

    interface IDisposable with
        member _.Dispose() =
            server.StopAsync(CancellationToken true).GetAwaiter().GetResult()
