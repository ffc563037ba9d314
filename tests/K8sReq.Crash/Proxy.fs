/// The published program, with a journal.
module K8sReq.Crash.Proxy

open System
open System.Diagnostics
open System.Net.Http
open System.Text.Json
open System.Threading.Tasks
open K8sReq.TestKit

// Longer than a backlog of these tests takes, on a slow machine.
let drainLimit = TimeSpan.FromSeconds 120.0

/// Manifests: a RequestClone for each target. They retry for longer than any of them is away, and a 202 is for all or none.
let routes (targets: CrashTarget list) : string =
    let delivery =
        "servicePort: http}, delivery: {retry: 100, backoffPolicy: linear, backoffDelay: 100ms, backoffMax: 1s, whenFull: Refuse}"

    targets
    |> List.map (fun target ->
        (Manifests.service target.Name target.Port).Replace("127.0.0.1", string target.Address)
        + (Manifests.clone target.Name Payload.host target.Name).Replace("servicePort: http}", delivery))
    |> String.concat ""

/// Starts it as the replica of this name, and does not wait for anything.
let launchAs (name: string) (manifests: string) (journal: string) : PublishedProgram =
    Resources.hold (
        PublishedProgram.Start(
            [
                "--manifests"
                manifests
                "--journal"
                journal
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
            ],
            [ "POD_NAME", name ]
        )
    )

/// The same of one that is alone.
let launch (manifests: string) (journal: string) : PublishedProgram = launchAs "k8sreq" manifests journal

/// The port that it takes requests on, once its journal is open.
let port (program: PublishedProgram) : Task<int> = task {
    let! port = program.Says @"Proxy listening on port (\d+)"
    let! _ = program.Says @"Journal .* opened: (\d+)"
    return int port
}

/// SIGKILL; completed once it has ended.
let kill (program: PublishedProgram) : Task<unit> = task {
    program.Kill()
    let! _ = program.ExitCode()
    (program :> IDisposable).Dispose()
}

// Until nothing is pending, or until the limit: with how many copies are.
let private deliver (metrics: int) : Task<float32> = task {
    let began = Stopwatch.GetTimestamp()
    let mutable pending = Single.MaxValue

    while pending > 0.0f && Stopwatch.GetElapsedTime began < drainLimit do
        do! Task.Delay 50
        let! page = Scrape.text metrics

        pending <-
            Scrape.series page
            |> Map.toSeq
            |> Seq.filter (fun (name, _) ->
                name.StartsWith("k8sreq_copies_pending", StringComparison.Ordinal))
            |> Seq.sumBy (snd >> float32)

    return pending
}

// Makes copies of all dead letters; with how many those are.
let private replay (status: int) : Task<int> = task {
    use client = new HttpClient()

    use! answer =
        client.PostAsync($"http://127.0.0.1:{status}/api/dead/replay?all=true", null)

    let! text = answer.Content.ReadAsStringAsync()
    use document = JsonDocument.Parse text
    return document.RootElement.GetProperty("replayed").GetInt32()
}

/// Lets it deliver until nothing is pending, or until the limit, and ends it; gives what is wrong with its end, and how many
/// copies were dead letters: those are kept, and are sent too then.
let drainAndStop (program: PublishedProgram) : Task<int * string list> = task {
    let! _ = port program
    let! metrics = program.Says @"Metrics listening on port (\d+)"
    let! status = program.Says @"Status page listening on port (\d+)"
    let! before = deliver (int metrics)
    let! replayed = replay (int status)
    let! left = deliver (int metrics)
    let pending = max before left
    program.Terminate()
    let! code = program.ExitCode()

    return
        replayed,
        [
            if pending > 0.0f then
                $"{pending} copies are pending after {drainLimit.TotalSeconds} s"
            if code <> 0 then
                $"the exit code was {code}: {program.Errors}"
        ]
}
