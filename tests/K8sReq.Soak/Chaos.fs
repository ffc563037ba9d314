/// Load while everything breaks: targets are killed and started again, connections reset, clients go away within their
/// requests, routes come and go. Each scrape of the metrics has to add up, and what targets have answered 2xx has to be
/// what the program counts as delivered. Against the published program, over loopback.
module K8sReq.Soak.Chaos

open System
open System.Net.Http
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit
open K8sReq.Soak.Accounts
open K8sReq.Soak.MortalTarget

let private connections = 32
let private rate = 200.0
let private host = "a.example"

let private retrying =
    "servicePort: http}, delivery: {retry: 4, backoffDelay: 100ms, backoffMax: 1s}"

let private manifests (targets: (string * int * bool) list) =
    [
        for name, port, retries in targets do
            let clone = Manifests.clone name host name

            Manifests.service name port
            + (if retries then
                   clone.Replace("servicePort: http}", retrying)
               else
                   clone)
    ]
    |> String.concat ""

let private sample =
    Regex(@"^(k8sreq_[a-z_]+)(?:\{([^}]*)\})? ([\d.e+-]+)$", RegexOptions.Multiline)

let private outcomeLabel = Regex(@",?outcome=""[a-z]+""")

/// The samples of a page, by name and labels.
let private parse (page: string) : ((string * string) * float) list = [
    for found in sample.Matches page ->
        (found.Groups[1].Value, found.Groups[2].Value),
        Double.Parse(found.Groups[3].Value, Globalization.CultureInfo.InvariantCulture)
]

/// What does not add up in one page of metrics.
let private faultsOf (page: string) : string list =
    let samples = parse page

    let of' name =
        samples
        |> List.choose (fun ((found, labels), value) -> if found = name then Some(labels, value) else None)

    let ended =
        of' "k8sreq_copies_total"
        |> List.groupBy (fun (labels, _) -> outcomeLabel.Replace(labels, ""))
        |> Map.ofList

    let pending = of' "k8sreq_copies_pending" |> Map.ofList

    [
        for labels, accepted in of' "k8sreq_copies_accepted_total" do
            let ends = ended[labels] |> List.sumBy snd

            if pending[labels] < 0.0 || accepted <> ends + pending[labels] then
                $"{labels}: {accepted} accepted, {ends} ended, {pending[labels]} pending"
    ]

/// Whether copies have been accepted, so that there is something to add up.
let private hasCopies (page: string) : bool =
    parse page
    |> List.exists (fun ((name, _), value) -> name = "k8sreq_copies_accepted_total" && value > 0.0)

/// What should be nothing once all copies have ended.
let private left (page: string) : (string * float) list = [
    for (name, labels), value in parse page do
        match name with
        | "k8sreq_copies_pending"
        | "k8sreq_copies_in_flight"
        | "k8sreq_queue_items"
        | "k8sreq_queue_bytes"
        | "k8sreq_buffer_bytes" when value <> 0.0 -> $"{name} {labels}", value
        | _ -> ()
]

// Again and again until it is told to stop; gives the number of times.
let private repeat (interval: TimeSpan) (stop: CancellationToken) (act: int -> Task) : Task<int> = task {
    let mutable n = 0

    while not stop.IsCancellationRequested do
        do! Task.Delay interval
        n <- n + 1
        do! act n

    return n
}

/// Runs it for so long; gives what was wrong.
let soak (time: TimeSpan) : Task<string list> = task {
    use folder = new TestFolder()
    use journals = new TestFolder()
    use good = new SoakTarget(fun _ -> Mood.Answer 200)
    use sometimes = new SoakTarget(fun _ -> Mood.Answer 204)

    use resetting =
        new SoakTarget(fun number -> if number % 3 = 0 then Mood.Reset else Mood.Answer 200)

    use! killed = MortalTarget.Start(journals.At "killed")
    use! killedRetried = MortalTarget.Start(journals.At "killed-retried")

    let always = [
        "good", good.Port, false
        "resetting", resetting.Port, false
        "killed", killed.Port, false
        "killed-retried", killedRetried.Port, true
    ]

    let version n =
        if n % 2 = 0 then
            always
        else
            always @ [ "sometimes", sometimes.Port, false ]

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
                "--body-size-limit=1000000"
            ]
        )

    let! port = program.Says @"Proxy listening on port (\d+)"
    let! metricsPort = program.Says @"Metrics listening on port (\d+)"
    use http = new HttpClient()

    let scrape () =
        http.GetStringAsync $"http://127.0.0.1:{metricsPort}/metrics"

    let clients = Clients(int port, (fun _ -> host))
    use stop = new CancellationTokenSource(time)
    let faults = ResizeArray<string>()
    let mutable telling = 0

    let rewriting =
        repeat (TimeSpan.FromMilliseconds 700.0) stop.Token (fun n ->
            folder.Write("all.yaml", manifests (version n))
            Task.CompletedTask)

    let scraping =
        repeat (TimeSpan.FromMilliseconds 200.0) stop.Token (fun _ -> task {
            let! page = scrape ()
            faults.AddRange(faultsOf page)

            if hasCopies page then
                telling <- telling + 1
        })

    let killing (target: MortalTarget) (interval: float) =
        repeat (TimeSpan.FromSeconds interval) stop.Token (fun _ ->
            target.KillAndRestart(TimeSpan.FromMilliseconds 300.0))

    let killingOne = killing killed 1.3
    let killingOther = killing killedRetried 1.7
    printfn $"soak: chaos, {rate} requests a second over {connections} connections for {time.TotalSeconds} s"
    do! clients.Run(connections, rate, stop.Token)
    let! versions = rewriting
    let! scrapes = scraping
    let! kills = killingOne
    let! moreKills = killingOther

    let mutable rest = []

    let isSettled () = task {
        let! page = scrape ()
        rest <- left page
        return rest.IsEmpty
    }

    try
        do! Waiting.until "all copies to end" isSettled
    with error ->
        faults.Add $"{error.Message}: {rest}"

    program.Terminate()
    let! code = program.ExitCode()

    let accepted, delivered, failed, dropped, retries =
        match totalsOf program with
        | [ accepted; delivered; failed; dropped; retries ] -> accepted, delivered, failed, dropped, retries
        | totals -> failwith $"{totals}"

    let one, other = killed.Journal, killedRetried.Journal

    // Where a process was killed between the begin of an answer and the note that the system had taken it, nobody can
    // know whether the proxy has it: these copies are counted, and the rest has to be equal.
    let unknown = one.Unknown + other.Unknown

    let answered =
        good.Answered
        + sometimes.Answered
        + resetting.Answered
        + one.Answered
        + other.Answered

    let ended = clients.Ended.Values |> Seq.countBy id |> Seq.sort |> List.ofSeq
    printfn ""

    for kind, count in ended do
        printfn "requests %-24s%d" (string kind) count

    printfn "copies accepted                 %d" accepted
    printfn "copies delivered                %d" delivered
    printfn "targets answered 2xx            %d (and %d interrupted by a kill)" answered unknown
    printfn "copies failed                   %d" failed
    printfn "copies dropped                  %d" dropped
    printfn "retries                         %d" retries
    printfn "kills, route changes, scrapes   %d, %d, %d" (kills + moreKills) versions scrapes
    printfn ""

    let doubled (copies: seq<int>) =
        copies |> Seq.filter (fun count -> count > 1) |> Seq.length

    return [
        yield! faults

        if accepted <> delivered + failed + dropped then
            $"{accepted} accepted copies, but {delivered + failed + dropped} ends"

        if delivered < answered || delivered > answered + unknown then
            $"{delivered} delivered copies, but {answered} that targets have answered 2xx, and {unknown} interrupted"

        // The first scrapes may come before the first request.
        if telling < scrapes / 2 then
            $"only {telling} of {scrapes} scrapes had copies"

        if not (ended |> List.exists (fun (kind, _) -> kind = Ended.Answered 202)) then
            "nothing was accepted"

        if retries = 0L || failed = 0L || kills + moreKills = 0 then
            "there was no chaos: no retries, failures or kills"

        if code <> 0 then
            $"the exit code was {code}"

        yield! wrongCopies "good" good clients (fun _ -> true)

        // Without retries a copy comes at most once, whatever happens to its target.
        for name, count in
            [
                "killed", doubled one.Copies.Values
                "sometimes", doubled sometimes.Copies.Values
                "resetting", doubled resetting.Copies.Values
            ] do
            if count > 0 then
                $"{name}: {count} copies came more than once"

        if one.Damaged + other.Damaged > 0L || sometimes.Damaged + resetting.Damaged > 0 then
            "copies were not what was sent"
    ]
}
