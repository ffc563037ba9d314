/// Power cuts: the journal is on a file system in a file, and the program goes on from a copy of that file, taken at a random
/// moment under load. What the system had in memory alone is not in the copy, as it would not be on the disk.
module K8sReq.Crash.PowerCuts

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open K8sReq.TestKit

let private connections = 8
let private stop = 19 // SIGSTOP

// The signal has been sent; every thread of the process stands still a moment later.
let private standsStill (program: PublishedProgram) : Task<unit> =
    Waiting.until "the program to stand still" (fun () ->
        Directory.GetDirectories $"/proc/{program.Id}/task"
        |> Array.forall (fun thread ->
            File.ReadLines(Path.Combine(thread, "status"))
            |> Seq.exists (fun line -> line.StartsWith("State:\tT", StringComparison.Ordinal)))
        |> Task.FromResult)

/// One cut: what became of the requests, and what else was wrong.
let private cut (random: Random) (folder: TestFolder) (number: int) : Task<Verdict * string list> = task {
    let at name = folder.At $"{number}-{name}"
    use good = new CrashTarget("good", TimeSpan.Zero)
    use slow = new CrashTarget("slow", TimeSpan.FromMilliseconds 100.0)
    // Whatever it gets comes out of the copy.
    use away = new CrashTarget("away", TimeSpan.Zero)
    away.Leave()
    let targets = [ good; slow; away ]
    folder.Write($"{number}-routes/all.yaml", Proxy.routes targets)
    let ledger = Ledger()
    DiskImage.copy (folder.At "empty") (at "before")

    do! task {
        use disk = Resources.hold (new Mount(at "before", at "disk"))
        let program = Proxy.launch (at "routes") (Path.Combine(disk.Folder, "journal"))
        let! port = Proxy.port program
        let load = ledger.SendTo(port, connections)
        do! ledger.Acknowledges 1
        do! Task.Delay(random.Next 600)
        program.Signal stop
        do! standsStill program
        DiskImage.copy (at "before") (at "after")
        do! Proxy.kill program
        do! load
    }

    use disk = Resources.hold (new Mount(at "after", at "disk"))
    away.Arrive()

    let! dead, faults =
        Proxy.drainAndStop (Proxy.launch (at "routes") (Path.Combine(disk.Folder, "journal")))

    (disk :> IDisposable).Dispose()
    File.Delete(at "before")
    File.Delete(at "after")
    return ledger.Judge(targets, dead), faults
}

/// What became of the requests of all cuts, and what else was wrong.
let run (seed: int) (count: int) (progress: int -> unit) : Task<Verdict * string list> = task {
    let random = Random seed
    let folder = Resources.hold (new TestFolder())
    DiskImage.create (folder.At "empty")
    let mutable verdict = Verdict.none
    let faults = ResizeArray<string>()

    for number in 1..count do
        let! one, wrong = cut random folder number
        verdict <- Verdict.add verdict one
        faults.AddRange wrong

        if one.Acknowledged = 0 then
            faults.Add $"cut {number}: nothing had been acknowledged"

        if one.Lost > 0 then
            printfn "crash: cut %d: %s" number (Verdict.describe one)

        progress number

    return verdict, List.ofSeq faults
}
