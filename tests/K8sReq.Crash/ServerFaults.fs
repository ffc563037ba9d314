/// Two replicas with one journal in PostgreSQL, under load: at random one of them is killed or stands still, or the server ends,
/// loses its connections or stands still; then everything has to come.
module K8sReq.Crash.ServerFaults

open System
open System.Threading.Tasks
open K8sReq.TestKit

let private connections = 4

/// Why it cannot be tried here.
let whyNot () : string option =
    if PostgresServer.IsInstalled then
        None
    else
        Some PostgresServer.Missing

/// A replica, and the load on it.
type private Replica = {
    Name: string
    Program: PublishedProgram
    Load: Task
}

[<RequireQualifiedAccess>]
type private Fault =
    | Kill
    | Freeze of TimeSpan
    | StopServer of signal: string * away: TimeSpan
    | FreezeServer of TimeSpan
    | EndConnections

let private choose (random: Random) (isShort: bool) : Fault =
    match random.Next 12 with
    | 0
    | 1
    | 2 -> Fault.Kill
    | 3
    | 4 -> Fault.StopServer("QUIT", TimeSpan.FromMilliseconds(float (random.Next 1500)))
    | 5 -> Fault.StopServer("KILL", TimeSpan.FromMilliseconds(float (random.Next 1500)))
    | 6 -> Fault.StopServer("INT", TimeSpan.FromMilliseconds(float (random.Next 1500)))
    | 7 -> Fault.FreezeServer(TimeSpan.FromMilliseconds(float (random.Next 3000)))
    | 8
    | 9
    | 10 -> Fault.EndConnections
    // Longer than its lease, now and then.
    | _ when isShort -> Fault.Freeze(TimeSpan.FromSeconds 1.0)
    | _ -> Fault.Freeze(TimeSpan.FromSeconds(if random.Next 3 = 0 then 20.0 else 2.0))

/// What became of the requests, and what else was wrong.
let run (isShort: bool) (seed: int) (count: int) (progress: int -> unit) : Task<Verdict * string list> = task {
    let random = Random seed
    let folder = Resources.hold (new TestFolder())
    let server = Resources.hold (PostgresServer.New())
    let database = server.NewDatabase()
    let uri = server.UriOf database
    use good = new CrashTarget("good", TimeSpan.Zero)
    use slow = new CrashTarget("slow", TimeSpan.FromMilliseconds 100.0)
    use away = new CrashTarget("away", TimeSpan.Zero)
    let targets = [ good; slow; away ]
    folder.Write("routes/all.yaml", Proxy.routes targets)
    let ledger = Ledger()

    let start (name: string) : Task<Replica> = task {
        let program = Proxy.launchAs name (folder.At "routes") uri
        let! port = Proxy.port program

        return {
            Name = name
            Program = program
            Load = ledger.SendTo(port, connections)
        }
    }

    let kill (replica: Replica) : Task<unit> = task {
        do! Proxy.kill replica.Program
        do! replica.Load
    }

    let apply (replicas: Replica[]) (fault: Fault) : Task<unit> = task {
        match fault with
        | Fault.Kill ->
            let index = random.Next replicas.Length
            do! kill replicas[index]
            let! again = start replicas[index].Name
            replicas[index] <- again
        | Fault.Freeze time ->
            let replica = replicas[random.Next replicas.Length]
            replica.Program.Signal 19
            do! Task.Delay time
            replica.Program.Signal 18
        | Fault.StopServer(signal, time) ->
            server.Stop signal
            do! Task.Delay time
            server.Start()
        | Fault.FreezeServer time ->
            server.Signal "STOP"
            do! Task.Delay time
            server.Signal "CONT"
        | Fault.EndConnections ->
            server.Ask(
                database,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'k8sreq%'"
            )
            |> ignore
    }

    let! first = start "first"
    let! second = start "second"
    let replicas = [| first; second |]

    for number in 1..count do
        do! ledger.Acknowledges 50
        do! Task.Delay(random.Next 200)

        if away.IsHere then away.Leave() else away.Arrive()

        do! apply replicas (choose random isShort)
        progress number

    do! ledger.Acknowledges 50
    away.Arrive()

    for replica in replicas do
        do! kill replica

    let last = [
        for name in [ "first"; "second" ] -> Proxy.launchAs name (folder.At "routes") uri
    ]

    for program in last do
        let! _ = Proxy.port program
        ()

    // All that is left is one of theirs, and comes.
    do!
        Waiting.untilFor Proxy.drainLimit "the journal to be empty" (fun () ->
            server.Ask(
                database,
                "SELECT (SELECT count(*) FROM k8sreq.packs) + (SELECT count(*) FROM k8sreq.copies)"
            )
            |> (=) (box 0L)
            |> Task.FromResult)

    let mutable dead = 0
    let mutable faults = []

    for program in last do
        let! replayed, wrong = Proxy.drainAndStop program
        dead <- dead + replayed
        faults <- faults @ wrong

    return ledger.Judge(targets, dead), faults
}
