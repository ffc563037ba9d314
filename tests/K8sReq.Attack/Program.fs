/// Attacks against the published program, JIT and native, with memory limited as the chart limits it, each beside a
/// well-behaved client; a table of what came of it. Ends with 1 where the process ended, an accepted copy of the
/// neighbour's was lost, its p99 is above the bound, or memory is. Over loopback, a quarter of a minute each.
///
///     dotnet fsi build.fsx attack [-- --only TEXT] [--seconds N]
///
/// `--short` is the form of it that is among the tests: the program built for the runtime alone, a second each, nothing that
/// depends on time is judged, and the last line counts.
module K8sReq.Attack.Program

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit
open K8sReq.Attack.Attacks

// The chart's limit, and what the runtime makes of it: three quarters for the heap.
let private memoryLimit = 512L * 1024L * 1024L
let private heapLimit = memoryLimit / 4L * 3L
let private longestP99 = TimeSpan.FromMilliseconds 250.0

[<NoComparison>]
type private Options = {
    /// Attacks whose name has this in it.
    Only: string
    Seconds: float
    IsShort: bool
}

let private megabytes (bytes: int64) = float bytes / 1048576.0

let private milliseconds (time: TimeSpan) =
    if time = TimeSpan.MaxValue then
        "–"
    else
        time.TotalMilliseconds.ToString "F1"

let private start (path: string) (attack: Attack) (folder: TestFolder) =
    let descriptors =
        match attack.Descriptors with
        | Some count -> $"ulimit -n {count}; "
        | None -> ""

    PublishedProgram.StartAt(
        "/bin/sh",
        [
            "-c"
            descriptors + "exec \"$@\""
            "sh"
            path
            "--manifests"
            folder.Path
            "--http-addr=127.0.0.1:0"
            "--probe-addr=127.0.0.1:0"
            "--metrics-addr=127.0.0.1:0"
            "--status-addr=127.0.0.1:0"
        ]
        @ attack.Arguments,
        [ "DOTNET_GCHeapHardLimit", $"0x{heapLimit:x}"; "MAX_CONNECTIONS", "auto" ]
    )

let rec private probe (times: int) (port: int) : Task<int> = task {
    try
        use http = new Net.Http.HttpClient(Timeout = TimeSpan.FromSeconds 5.0)
        let! answer = http.GetAsync $"http://127.0.0.1:{port}/readyz"
        return int answer.StatusCode
    with
    | :? Net.Http.HttpRequestException
    | :? TaskCanceledException ->
        // As the kubelet does: more than one failure counts.
        if times > 1 then
            return! probe (times - 1) port
        else
            return 0
}

/// What failed, if anything.
let private run (name: string) (path: string) (options: Options) (attack: Attack) : Task<string list> = task {
    use own = new TestTarget(attack.Target, forgets = true)
    let mutable received = 0

    use neighbours =
        new TestTarget(
            (fun _ stream reader -> task {
                let mutable isOpen = true

                while isOpen do
                    match! reader.Read() with
                    | None -> isOpen <- false
                    | Some _ ->
                        Interlocked.Increment &received |> ignore
                        do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
            }),
            forgets = true
        )

    use folder = new TestFolder()

    folder.Write("all.yaml", Manifests.route "neighbour.example" [ neighbours.Port ] + attack.Routes own.Port)

    use program = start path attack folder
    let! port = program.Says @"Proxy listening on port (\d+)"
    let! probePort = program.Says @"Probes listening on port (\d+)"
    let! _ = program.Says @"Routes: (\d+) hosts?"
    use stop = new CancellationTokenSource()
    use over = new CancellationTokenSource()
    let neighbour = Neighbour(int port)
    let serving = neighbour.Run stop.Token

    if not options.IsShort then
        do! Task.Delay 2000

    let quiet = neighbour.P99
    neighbour.Clear()
    let before = Volatile.Read &received
    let mutable most = 0L
    let mutable isReady = true
    let began = Diagnostics.Stopwatch.StartNew()

    let attacking =
        Task.Run<unit>(fun () -> task {
            do!
                attack.Run {
                    Port = int port
                    Folder = folder
                    Stop = over.Token
                }
        })

    while began.Elapsed.TotalSeconds < options.Seconds && not program.HasExited do
        do! Task.Delay 250

        if not program.HasExited then
            most <- max most (ProcessView.residentMemory program.Id)

    let! ready = probe 3 (int probePort)
    isReady <- ready = 200
    over.Cancel()
    let! _ = Task.WhenAny(attacking, Task.Delay 5000)
    stop.Cancel()
    let! _ = Task.WhenAny(serving, Task.Delay 35_000)
    let p99 = neighbour.P99
    let accepted = neighbour.Accepted
    // Those that were accepted before may have come after.
    let lost () =
        accepted - (Volatile.Read &received - before)

    // Copies that are on their way.
    let patience = Diagnostics.Stopwatch.StartNew()

    while lost () > 0 && patience.Elapsed < TimeSpan.FromSeconds 10.0 do
        do! Task.Delay 50

    let lost = lost ()
    let lines = program.Errors.Split('\n').Length

    let failures = [
        if program.HasExited then
            "the process ended"
        if accepted = 0 then
            "the neighbour was not served"
        if lost > 0 then
            $"{lost} accepted copies of the neighbour's did not arrive"
        if p99 > longestP99 && not options.IsShort then
            $"the neighbour's p99 is {p99.TotalMilliseconds:F0} ms"
        if most > memoryLimit then
            $"memory is {megabytes most:F0} MiB"
        if not isReady then
            "the probe did not answer 200"
        if lines > 1000 then
            $"{lines} lines of log"
    ]

    let outcome =
        match failures with
        | [] -> "held"
        | failures -> "**" + String.concat "; " failures + "**"

    printfn
        "| %s | %s | %s | %.0f | %s (%s) | %d, %d, %d | %d | %s |"
        attack.Name
        attack.Load
        name
        (megabytes most)
        (milliseconds p99)
        (milliseconds quiet)
        accepted
        neighbour.Refused
        neighbour.Broken
        lines
        outcome

    if program.HasExited then
        eprintfn "%s" (program.Errors.Substring(max 0 (program.Errors.Length - 2000)))

    return failures
}

let rec private parse (options: Options) (arguments: string list) =
    match arguments with
    | "--only" :: text :: rest -> parse { options with Only = text } rest
    | "--seconds" :: count :: rest -> parse { options with Seconds = float count } rest
    | "--short" :: rest ->
        parse
            {
                options with
                    Seconds = 1.0
                    IsShort = true
            }
            rest
    | [] -> options
    | other -> failwith $"{other} is not understood: --only TEXT, --seconds N, --short"

[<EntryPoint>]
let main arguments =
    let options =
        parse
            {
                Only = ""
                Seconds = 10.0
                IsShort = false
            }
            (List.ofArray arguments)

    let native =
        Path.Combine(PublishedProgram.Root, "artifacts", "k8sreq-native", "k8sreq")

    let programs = [
        "JIT", PublishedProgram.Path
        if File.Exists native && not options.IsShort then
            "native", native
    ]

    let chosen =
        all
        |> List.filter _.Name.Contains(options.Only, StringComparison.OrdinalIgnoreCase)

    printfn
        "| attack | load | program | RSS at most, MiB | neighbour's p99 (before), ms | its 202s, others, broken connections | log lines | outcome |"

    printfn "|---|---|---|---|---|---|---|---|"

    let failed = [
        for attack in chosen do
            for name, path in programs do
                if not ((run name path options attack).GetAwaiter().GetResult()).IsEmpty then
                    $"{attack.Name} ({name})"
    ]

    for name in failed do
        eprintfn "failed: %s" name

    if options.IsShort then
        printfn "%d passed, 0 ignored, %d failed, 0 errored" (chosen.Length - failed.Length) failed.Length

    if failed.IsEmpty then 0 else 1
