/// The proxy beside nginx's mirror: CPU per duplicated request, the times that clients see, memory, and whether every
/// copy arrived. Peers take turns in rounds, and what is printed are medians: figures of one run compare, those of
/// different runs do not.
module K8sReq.Bench.Comparison

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open K8sReq.TestKit
open K8sReq.TestKit.HttpMessage

/// How requests come.
[<RequireQualifiedAccess>]
type private Pace =
    /// So many a second, over so many connections.
    | Fixed of rate: float * connections: int
    /// As fast as they are answered.
    | Saturation of connections: int

type private Scenario = {
    Name: string
    Pace: Pace
    BodyLength: int
    Writes: ClientWrites
    Targets: int
    Answer: TargetAnswer
    Hosts: int
    /// One target more, which takes five seconds for its answer.
    HasSlowTarget: bool
}

let private host = "hooks.example"

let private hot = {
    Name = "POST 1 KiB, 2000/s"
    Pace = Pace.Fixed(2000.0, 64)
    BodyLength = 1024
    Writes = ClientWrites.One
    Targets = 2
    Answer = TargetAnswer.WithBody
    Hosts = 1
    HasSlowTarget = false
}

// What depends on neither clients nor targets alone is measured with every kind of both.
let private kinds: Scenario list = [
    for name, pace in
        [
            "2000/s", Pace.Fixed(2000.0, 64)
            "400/s", Pace.Fixed(400.0, 64)
            "saturation", Pace.Saturation 64
        ] do
        for answered, answer in
            [
                "answers with a body", TargetAnswer.WithBody
                "empty answers", TargetAnswer.Empty
                "answers 204", TargetAnswer.NoContent
            ] do
            for written, writes in [ "one write", ClientWrites.One; "two writes", ClientWrites.Two ] do
                // 204 differs from an empty 200 by its head alone: once is enough.
                if
                    answer <> TargetAnswer.NoContent
                    || (writes = ClientWrites.One && pace = hot.Pace)
                then
                    {
                        hot with
                            Name = $"POST 1 KiB, {name}, {written}, {answered}"
                            Pace = pace
                            Writes = writes
                            Answer = answer
                    }
]

// The others, with targets that answer in this way; clients send head and body in one write.
let private others (answered: string) (answer: TargetAnswer) : Scenario list = [
    for scenario in
        [
            {
                hot with
                    Name = "GET, 2000/s"
                    BodyLength = 0
            }
            {
                hot with
                    Name = "POST 64 KiB, 500/s"
                    Pace = Pace.Fixed(500.0, 64)
                    BodyLength = 65_536
            }
            {
                hot with
                    Name = "POST 1 KiB to 10 targets, 400/s"
                    Pace = Pace.Fixed(400.0, 64)
                    Targets = 10
            }
            {
                hot with
                    Name = "POST 1 KiB, 2000/s, one of 10,000 hosts"
                    Hosts = 10_000
            }
            {
                hot with
                    Name = "POST 1 KiB, 500/s, 256 connections, and a target that takes 5 s"
                    Pace = Pace.Fixed(500.0, 256)
                    Targets = 1
                    HasSlowTarget = true
            }
        ] do
        {
            scenario with
                Name = $"{scenario.Name}, {answered}"
                Answer = answer
        }
]

let private scenarios =
    kinds
    @ others "answers with a body" TargetAnswer.WithBody
    @ others "empty answers" TargetAnswer.Empty

/// What one round of one peer gave.
type private Sample = {
    /// Microseconds of CPU for each accepted request.
    Cpu: float
    P50: float
    P99: float
    /// Accepted requests a second.
    Rate: float
    /// Copies that healthy targets did not get, of requests that were answered 202.
    Lost: int64
    NotAccepted: int64
    /// Bytes.
    Memory: int64
    MemoryGrowth: int64
}

let private request (scenario: Scenario) =
    let head =
        if scenario.BodyLength = 0 then
            $"GET /hooks?source=bench HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        else
            $"POST /hooks?source=bench HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: {scenario.BodyLength}\r\n\r\n"

    ClientWrites.pieces
        scenario.Writes
        (Encoding.ASCII.GetBytes head)
        (Array.create scenario.BodyLength (byte 'x'))

/// Reads whatever comes and answers every request of its kind after five seconds. Requests are counted by their lengths,
/// which are all the same.
let private slowTarget () : int * IDisposable =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    listener.Start 4096

    let serve (client: TcpClient) : Task = task {
        try
            use client = client
            let stream = client.GetStream()
            let reader = MessageReader(stream, true)
            let mutable isOpen = true

            while isOpen do
                match! reader.Read() with
                | None -> isOpen <- false
                | Some _ ->
                    do! Task.Delay 5000
                    do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
        with
        | :? IOException
        | :? SocketException
        | :? EndOfStreamException -> ()
    }

    let accepting: Task = task {
        try
            while true do
                let! client = listener.AcceptTcpClientAsync()
                serve client |> ignore
        with
        | :? SocketException
        | :? ObjectDisposedException -> ()
    }

    (listener.LocalEndpoint :?> IPEndPoint).Port,
    {
        new IDisposable with
            member _.Dispose() =
                listener.Stop()
                accepting.GetAwaiter().GetResult()
    }

// On a thread of its own: answers are handled on the threads that wait for sockets, which are not to be blocked.
let private load (port: int) (scenario: Scenario) (seconds: float) : Task<LoadResult> =
    Task.Factory.StartNew(
        (fun () ->
            match scenario.Pace with
            | Pace.Fixed(rate, connections) ->
                PacedLoad.run port (request scenario) rate connections (TimeSpan.FromSeconds seconds)
            | Pace.Saturation connections ->
                PacedLoad.saturate port (request scenario) connections (int64 (seconds * 15_000.0))),
        TaskCreationOptions.LongRunning
    )

/// What the targets have, once nothing more comes.
let private settled (targets: NginxTargets) (expected: int64) : Task<int64> = task {
    let! first = targets.Received()
    let mutable now = first
    let watch = Stopwatch.StartNew()

    while now < expected && watch.Elapsed < TimeSpan.FromSeconds 5.0 do
        do! Task.Delay 100
        let! next = targets.Received()
        now <- next

    return now
}

let private measure (peer: Peer) (scenario: Scenario) (seconds: float) : Task<Sample> = task {
    use targets = new NginxTargets(scenario.Targets, scenario.Answer)
    let slow = if scenario.HasSlowTarget then Some(slowTarget ()) else None

    let ports =
        targets.Ports
        @ (slow |> Option.map (fun (port, _) -> [ port ]) |> Option.defaultValue [])

    let hosts = host :: List.init (scenario.Hosts - 1) (fun n -> $"h{n}.example")
    let! running = peer.Start hosts ports
    use _ = running.Owned
    // Code is compiled, connections are made.
    let! _ = load running.Port scenario (if scenario.HasSlowTarget then 1.0 else 4.0)

    do! Task.Delay 500
    let! before = targets.Received()
    let cpuBefore = ProcessView.cpuTime running.ProcessId
    let memoryBefore = ProcessView.residentMemory running.ProcessId
    let! result = load running.Port scenario seconds
    let expected = result.Accepted * int64 scenario.Targets
    let! received = settled targets (before + expected)
    let cpu = ProcessView.cpuTime running.ProcessId - cpuBefore
    slow |> Option.iter (fun (_, slow) -> slow.Dispose())

    return {
        Cpu = cpu.TotalMicroseconds / float (max 1L result.Accepted)
        P50 = LoadResult.percentile 0.5 result
        P99 = LoadResult.percentile 0.99 result
        Rate = LoadResult.rate result
        Lost = expected - (received - before)
        NotAccepted =
            match scenario.Pace with
            | Pace.Fixed(rate, _) -> int64 (rate * seconds) - result.Accepted
            | Pace.Saturation _ -> result.Other
        Memory = ProcessView.residentMemory running.ProcessId
        MemoryGrowth = ProcessView.residentMemory running.ProcessId - memoryBefore
    }
}

let private median (values: float list) =
    let sorted = List.sort values
    sorted[sorted.Length / 2]

let private mib (bytes: float) = bytes / 1024.0 / 1024.0

let private row (scenario: string) (name: string) (samples: Sample list) (baseline: Sample list option) =
    let of' (choose: Sample -> float) = samples |> List.map choose |> median

    let number (format: string) (value: float) =
        if Double.IsNaN value then "–" else value.ToString format

    let ratio =
        match baseline with
        | Some others -> of' _.Cpu / (others |> List.map _.Cpu |> median) |> number "0.00"
        | None -> ""

    let lost = samples |> List.sumBy _.Lost
    let refused = samples |> List.sumBy _.NotAccepted

    printfn
        "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |"
        scenario
        name
        (number "0.0" (of' _.Cpu))
        ratio
        (number "0.00" (of' _.P50))
        (number "0.00" (of' _.P99))
        (number "0" (of' _.Rate))
        (number "0" (mib (of' (fun sample -> float sample.Memory))))
        (number "+0;-0;0" (mib (of' (fun sample -> float sample.MemoryGrowth))))
        (if lost = 0L && refused = 0L then
             "0"
         else
             $"**{lost}** lost, **{refused}** not answered 202")

/// From the start of the process to its first 202, in milliseconds, and its memory after a second without requests.
let private startUp (peer: Peer) : Task<float * float> = task {
    use targets = new NginxTargets(2, TargetAnswer.WithBody)
    let watch = Stopwatch.StartNew()
    let! running = peer.Start [ host ] targets.Ports
    use _ = running.Owned
    use client = new Socket(SocketType.Stream, ProtocolType.Tcp)
    let mutable isConnected = false

    while not isConnected do
        try
            client.Connect(IPAddress.Loopback, running.Port)
            isConnected <- true
        with :? SocketException ->
            do! Task.Delay 1

    client.Send(Array.concat (request hot)) |> ignore
    let answer = Array.zeroCreate<byte> 1024
    client.Receive answer |> ignore
    let elapsed = watch.Elapsed.TotalMilliseconds
    do! Task.Delay 1000
    return elapsed, mib (float (ProcessView.residentMemory running.ProcessId))
}

type private Options = {
    Rounds: int
    Seconds: float
    Only: string
    Peers: Peer list
}

let rec private parse (options: Options) (arguments: string list) =
    match arguments with
    | "--rounds" :: count :: rest -> parse { options with Rounds = int count } rest
    | "--seconds" :: seconds :: rest -> parse { options with Seconds = float seconds } rest
    | "--only" :: text :: rest -> parse { options with Only = text } rest
    | "--no-nginx" :: rest ->
        parse
            {
                options with
                    Peers = options.Peers |> List.filter (fun peer -> peer.Name <> "nginx")
            }
            rest
    // NAME=PATH, then variables for it: NAME=PATH,A=B,C=D
    | "--also" :: peer :: rest ->
        let pair (text: string) =
            match text.Split('=', 2) with
            | [| name; value |] -> name, value
            | _ -> failwith $"\"{text}\" is not NAME=VALUE"

        let parts = peer.Split ',' |> List.ofArray |> List.map pair
        let name, path = List.head parts

        parse
            {
                options with
                    Peers = options.Peers @ [ Peers.k8sreq name path (List.tail parts) ]
            }
            rest
    | [] -> options
    | unknown :: _ -> failwith $"unknown argument {unknown}"

let private nativeProgram =
    Path.Combine(PublishedProgram.Root, "artifacts", "k8sreq-native", "k8sreq")

let private isThere (command: string) =
    (string (Environment.GetEnvironmentVariable "PATH") + ":/usr/sbin").Split ':'
    |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, command)))

/// Runs all scenarios and prints the table.
let run (arguments: string list) : Task<int> = task {
    if not (isThere "nginx") then
        eprintfn "bench: nginx is needed: apt-get install nginx-light"
        return 2
    else
        let options =
            parse
                {
                    Rounds = 3
                    Seconds = 8.0
                    Only = ""
                    Peers = [
                        Peers.nginx
                        Peers.k8sreq "k8sreq" PublishedProgram.Path []
                        // As native code, if it has been published.
                        if File.Exists nativeProgram then
                            Peers.k8sreq "k8sreq, native" nativeProgram []
                    ]
                }
                arguments

        let chosen =
            scenarios
            |> List.filter (fun scenario ->
                scenario.Name.Contains(options.Only, StringComparison.OrdinalIgnoreCase))

        let results =
            ResizeArray<struct (string * string * Sample list * Sample list option)>()

        for scenario in chosen do
            let samples = Dictionary<string, Sample list>()

            for round in 1 .. options.Rounds do
                for peer in options.Peers do
                    let! sample = measure peer scenario options.Seconds
                    samples[peer.Name] <- sample :: (samples.GetValueOrDefault(peer.Name, []))
                    eprintfn "%s, round %d, %s: %.1f µs" scenario.Name round peer.Name sample.Cpu

            for peer in options.Peers do
                let baseline =
                    match samples.TryGetValue "nginx" with
                    | true, others when peer.Name <> "nginx" -> Some others
                    | _ -> None

                results.Add(struct (scenario.Name, peer.Name, samples[peer.Name], baseline))

        if results.Count > 0 then
            printfn
                "| | | CPU µs/request | of nginx's | p50 ms | p99 ms | 202/s | memory MiB | grown by | lost |"

            printfn "|---|---|---|---|---|---|---|---|---|---|"

            for struct (scenario, name, samples, baseline) in results do
                row scenario name samples baseline

        if options.Only = "" || options.Only = "start" then
            printfn ""
            printfn "Start to the first 202, and memory when idle"
            printfn ""
            printfn "| | ms | MiB |"
            printfn "|---|---|---|"

            for peer in options.Peers do
                let figures = ResizeArray<float * float>()

                for _ in 1 .. max 5 options.Rounds do
                    let! figure = startUp peer
                    figures.Add figure

                let of' choose =
                    figures |> Seq.map choose |> List.ofSeq |> median

                printfn "| %s | %.0f | %.0f |" peer.Name (of' fst) (of' snd)

        return 0
}
