/// Load for a minute over targets of every kind while the routes change, then the end under load; and the books have
/// to be right to the last copy. Against the published program, over loopback.
module K8sReq.Soak.Program

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit
open K8sReq.Soak.Accounts

let private connections = 64
let private rate = 300.0
let private changeInterval = TimeSpan.FromMilliseconds 700.0
let private sendTimeout = "3s"

// Longer than a pool of connections keeps an idle one.
let private longestRest = TimeSpan.FromSeconds 90.0

/// Up and down, three seconds each.
let private flapping (clock: Stopwatch) _ =
    if clock.Elapsed.TotalSeconds % 6.0 < 3.0 then
        Mood.Answer 200
    else
        Mood.Reset

let private retrying =
    "servicePort: http}, delivery: {retry: 4, backoffPolicy: exponential, backoffDelay: 200ms, backoffMax: 2s}"

let private manifests (targets: (string * string * int) list) =
    [
        for name, host, port in targets do
            let clone = Manifests.clone name host name

            Manifests.service name port
            + (if name = "flapping" then
                   clone.Replace("servicePort: http}", retrying)
               else
                   clone)
    ]
    |> String.concat ""

let private percentile (sorted: TimeSpan[]) (share: float) =
    if sorted.Length = 0 then
        TimeSpan.Zero
    else
        sorted[min (sorted.Length - 1) (int (share * float sorted.Length))]

let private soak (time: TimeSpan) : Task<string list> = task {
    let clock = Stopwatch.StartNew()
    use good1 = new SoakTarget(fun _ -> Mood.Answer 200)
    use good2 = new SoakTarget(fun _ -> Mood.Answer 204)
    use sometimes = new SoakTarget(fun _ -> Mood.Answer 200)
    use slow = new SoakTarget(fun _ -> Mood.AnswerLater(TimeSpan.FromSeconds 2.0))
    use silent = new SoakTarget(fun _ -> Mood.Silence)
    use flapping = new SoakTarget(flapping clock)
    use onB = new SoakTarget(fun _ -> Mood.Answer 200)
    use dead = new SoakTarget(fun _ -> Mood.Reset)
    (dead :> IDisposable).Dispose()
    let targets = [ good1; good2; sometimes; slow; silent; flapping; onB ]

    let always = [
        "good-1", "a.example", good1.Port
        "good-2", "a.example", good2.Port
        "slow", "a.example", slow.Port
        "silent", "a.example", silent.Port
        "flapping", "a.example", flapping.Port
        "dead", "a.example", dead.Port
    ]

    // A target and a host that come and go.
    let changing = [ "sometimes", "a.example", sometimes.Port; "on-b", "b.example", onB.Port ]

    let version n =
        if n % 2 = 0 then always else always @ changing

    use folder = new TestFolder()
    folder.Write("all.yaml", manifests (version 0))

    use program =
        PublishedProgram.Start(
            [
                "--manifests"
                folder.Path
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
                $"--proxy-read-timeout={sendTimeout}"
                $"--proxy-write-timeout={sendTimeout}"
                "--body-size-limit=1000000"
            ]
        )

    let! port = program.Says @"Proxy listening on port (\d+)"
    let port = int port
    let pid = program.Id
    let before = ProcessView.descriptors pid
    let isOnB number = number % 10 = 3

    let clients =
        Clients(port, (fun number -> if isOnB number then "b.example" else "a.example"))

    let load (time: TimeSpan) = task {
        use stop = new CancellationTokenSource(time)
        do! clients.Run(connections, rate, stop.Token)
    }

    use stopChanging = new CancellationTokenSource()

    let rewriting = task {
        let mutable n = 0

        while not stopChanging.IsCancellationRequested do
            do! Task.Delay changeInterval
            n <- n + 1
            folder.Write("all.yaml", manifests (version n))

        return n
    }

    printfn $"soak: {rate} requests a second over {connections} connections for {time.TotalSeconds} s"
    do! load time
    printfn "soak: waiting for what was opened to be closed"
    let rest = Stopwatch.StartNew()
    let mutable after = ProcessView.descriptors pid

    while after > before && rest.Elapsed < longestRest do
        do! Task.Delay 500
        after <- ProcessView.descriptors pid

    let rested = rest.Elapsed
    printfn "soak: SIGTERM under load"
    let last = load (TimeSpan.FromSeconds 4.0)
    do! Task.Delay(TimeSpan.FromSeconds 2.0)
    let peak = ProcessView.peakMemory pid
    let stopping = Stopwatch.StartNew()
    program.Terminate()
    let! code = program.ExitCode()
    let stopped = stopping.Elapsed
    do! last
    stopChanging.Cancel()
    let! versions = rewriting

    let accepted, delivered, failed, dropped, retries =
        match totalsOf program with
        | [ accepted; delivered; failed; dropped; retries ] -> accepted, delivered, failed, dropped, retries
        | totals -> failwith $"{totals}"

    let ended = clients.Ended.Values |> Seq.countBy id |> Seq.sort |> List.ofSeq
    let latencies = clients.Latencies
    let answered = targets |> List.sumBy _.Answered
    printfn ""

    for kind, count in ended do
        printfn "requests %-24s%d" (string kind) count

    printfn "copies accepted                 %d" accepted
    printfn "copies delivered                %d (targets answered 2xx: %d)" delivered answered
    printfn "copies failed                   %d" failed
    printfn "copies dropped                  %d" dropped
    printfn "retries                         %d" retries
    printfn "route changes                   %d" versions
    printfn "peak memory                     %d MiB" (peak / 1024L / 1024L)
    printfn "descriptors before, after       %d, %d (after %.1f s)" before after rested.TotalSeconds

    printfn
        "202 p50, p99                    %.2f ms, %.2f ms"
        (percentile latencies 0.5).TotalMilliseconds
        (percentile latencies 0.99).TotalMilliseconds

    printfn "from SIGTERM to the end         %.1f s" stopped.TotalSeconds
    printfn ""

    return [
        if accepted <> delivered + failed + dropped then
            $"{accepted} accepted copies, but {delivered + failed + dropped} ends"

        if delivered <> answered then
            $"{delivered} delivered copies, but {answered} that targets have answered 2xx"

        if not (ended |> List.exists (fun (kind, _) -> kind = Ended.Answered 202)) then
            "nothing was accepted"

        if retries = 0L || dropped = 0L || failed = 0L then
            "the targets were not bad enough: no retries, failures or drops"

        if code <> 0 then
            $"the exit code was {code}"

        if after > before then
            $"{after} descriptors, {before} before the load"

        if program.Errors.Contains "Given up" then
            "copies were given up at the end"

        yield! wrongCopies "good-1" good1 clients (isOnB >> not)
        yield! wrongCopies "good-2" good2 clients (isOnB >> not)

        for target, name in [ sometimes, "sometimes"; slow, "slow"; silent, "silent"; onB, "on-b" ] do
            let doubled =
                target.Copies.Values |> Seq.filter (fun count -> count > 1) |> Seq.length

            if doubled > 0 then
                $"{name}: {doubled} copies came more than once"

            if target.Damaged > 0 then
                $"{name}: {target.Damaged} copies were not what was sent"
    ]
}

let private report (faults: string list) =
    match faults with
    | [] ->
        printfn "soak: every copy is accounted for"
        0
    | faults ->
        for fault in faults do
            eprintfn "soak: %s" fault

        1

[<EntryPoint>]
let main arguments =
    let run (load: TimeSpan -> Task<string list>) (seconds: float) =
        (load (TimeSpan.FromSeconds seconds)).GetAwaiter().GetResult() |> report

    match List.ofArray arguments with
    // A target as a process of its own: see Chaos.
    | [ "target"; port; journal ] ->
        MortalTarget.serve (int port) journal
        0
    | [ "--chaos" ] -> run Chaos.soak 60.0
    | [ "--chaos"; seconds ] -> run Chaos.soak (float seconds)
    | [] -> run soak 60.0
    | seconds :: _ -> run soak (float seconds)
