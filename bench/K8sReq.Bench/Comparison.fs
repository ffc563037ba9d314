/// The proxy beside nginx's mirror and other builds of itself: CPU and context switches for each request, the times that clients
/// see, memory, and whether every copy arrived. All peers of a scenario are up and warm, and take turns: figures of one run
/// compare, those of different runs do not.
module K8sReq.Bench.Comparison

open System
open System.IO
open System.Threading.Tasks
open K8sReq.TestKit

let private nativeProgram =
    Path.Combine(PublishedProgram.Root, "artifacts", "k8sreq-native", "k8sreq")

let private native = "k8sreq-native"

let private peers (options: Options) : Peer list =
    // Only where it is asked for.
    let filtered (name: string) (path: string) = [
        let name = $"{name}-filter"

        if List.contains name options.Peers then
            Peers.k8sreqWithFilter name path []
    ]

    [
        if not options.WithoutNginx then
            Peers.nginx

            if List.contains Peers.nginxWithFiles.Name options.Peers then
                Peers.nginxWithFiles
        Peers.k8sreq "k8sreq" PublishedProgram.Path []
        yield! filtered "k8sreq" PublishedProgram.Path
        // If it has been published.
        if File.Exists nativeProgram then
            Peers.k8sreq native nativeProgram []
            yield! filtered native nativeProgram
        for other in options.Also do
            Peers.k8sreq other.Name other.Path other.Environment
    ]
    |> List.filter (fun peer -> options.Peers.IsEmpty || List.contains peer.Name options.Peers)

/// What the others are compared with: the first peer, and the native program.
let private baselines (peers: Peer list) =
    peers
    |> List.indexed
    |> List.filter (fun (index, peer) -> index = 0 || peer.Name = native)
    |> List.map (fun (_, peer) -> peer.Name)

let private printStart (options: Options) (peers: Peer list) : Task = task {
    printfn "| start to the first 202, memory when idle | ms | MiB |"
    printfn "|---|---|---|"

    for peer in peers do
        let figures = ResizeArray<float * int64>()

        for _ in 1 .. max 5 options.Rounds do
            let! figure = StartUp.measure peer
            figures.Add figure

        let median choose =
            figures |> Seq.map choose |> List.ofSeq |> Statistics.median

        printfn
            "| %s | %.0f | %.0f |"
            peer.Name
            (median fst)
            (median (fun (_, memory) -> float memory / 1024.0 / 1024.0))
}

let private printIdle (peers: Peer list) : Task = task {
    printfn
        "| idle connections | connections | MiB with one | MiB with all | bytes a connection | CPU, ms a second |"

    printfn "|---|---|---|---|---|---|"

    for peer in peers do
        let! figures = IdleConnections.measure peer

        printfn
            "| %s | %d | %.0f | %.0f | %d | %.1f |"
            peer.Name
            figures.Connections
            (float figures.Before / 1024.0 / 1024.0)
            (float figures.After / 1024.0 / 1024.0)
            ((figures.After - figures.Before) / int64 figures.Connections)
            (figures.Cores * 1000.0)
}

let private isThere (command: string) =
    (string (Environment.GetEnvironmentVariable "PATH") + ":/usr/sbin").Split ':'
    |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, command)))

let private compare (options: Options) : Task<int> = task {
    let chosen =
        Scenarios.all
        |> List.filter (fun scenario ->
            scenario.Name.Contains(options.Only, StringComparison.OrdinalIgnoreCase))

    let peers = peers options

    let! counter =
        if options.CountsSystemCalls then
            SystemCalls.tryFind ()
        else
            Task.FromResult None

    if options.CountsSystemCalls && counter.IsNone then
        eprintfn
            "bench: neither perf nor strace works here: no system calls are counted (apt-get install linux-perf strace)"

    let results = ResizeArray<Report.ScenarioResult>()

    for scenario in chosen do
        let! result = Contest.run options counter peers scenario
        results.Add result

    if results.Count > 0 then
        Report.table (baselines peers) (List.ofSeq results) |> List.iter (printfn "%s")

        printfn ""
        Report.conditions (List.ofSeq results) |> List.iter (printfn "%s")

    if options.Only = "" || options.Only = "start" then
        printfn ""
        do! printStart options peers

    if options.Only = "" || options.Only = "idle" then
        printfn ""
        do! printIdle peers

    return 0
}

/// Runs what the command line asks for, and prints tables to standard output, progress to standard error.
let run (arguments: string list) : Task<int> =
    match Options.parse arguments with
    | Error message ->
        eprintfn "bench: %s\n%s" message Options.usage
        Task.FromResult 2
    | Ok options when options.ListsScenarios ->
        Scenarios.all |> List.iter (fun scenario -> printfn "%s" scenario.Name)
        Task.FromResult 0
    | Ok _ when not (isThere "nginx") ->
        // The targets are nginx, too.
        eprintfn "bench: nginx is needed: apt-get install nginx-light"
        Task.FromResult 2
    | Ok options -> compare options
