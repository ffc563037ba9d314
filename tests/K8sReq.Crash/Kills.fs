/// kill -9 at random moments under load, again and again on the same journal; then everything has to come.
module K8sReq.Crash.Kills

open System
open System.Threading.Tasks
open K8sReq.TestKit

let private connections = 8

/// One life of the program: load, and its end at a random moment, now and then before it is ready.
let private live (random: Random) (folder: TestFolder) (away: CrashTarget) (ledger: Ledger) : Task<unit> =
    task {
        let program = Proxy.launch (folder.At "routes") (folder.At "journal")

        if random.Next 10 = 0 then
            do! Task.Delay(random.Next 400)
            do! Proxy.kill program
        else
            let! port = Proxy.port program
            let load = ledger.SendTo(port, connections)
            do! ledger.Acknowledges 1
            do! Task.Delay(random.Next 300)

            if away.IsHere then away.Leave() else away.Arrive()

            do! Task.Delay(random.Next 300)
            do! Proxy.kill program
            do! load
    }

/// What became of the requests, and what else was wrong.
let run (seed: int) (count: int) (progress: int -> unit) : Task<Verdict * string list> = task {
    let random = Random seed
    let folder = Resources.hold (new TestFolder())
    use good = new CrashTarget("good", TimeSpan.Zero)
    use slow = new CrashTarget("slow", TimeSpan.FromMilliseconds 100.0)
    use away = new CrashTarget("away", TimeSpan.Zero)
    let targets = [ good; slow; away ]
    folder.Write("routes/all.yaml", Proxy.routes targets)
    let ledger = Ledger()

    for number in 1..count do
        do! live random folder away ledger
        progress number

    away.Arrive()

    let! dead, faults =
        Proxy.drainAndStop (Proxy.launch (folder.At "routes") (folder.At "journal"))

    return ledger.Judge(targets, dead), faults
}
