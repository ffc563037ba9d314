/// From the start of a process to its first 202.
module K8sReq.Bench.StartUp

open System.Diagnostics
open System.Net.Sockets
open System.Threading.Tasks

let private isListening (port: int) =
    use client = new Socket(SocketType.Stream, ProtocolType.Tcp)

    try
        client.Connect(System.Net.IPAddress.Loopback, port)
        true
    with :? SocketException ->
        false

/// Milliseconds, and the memory after a second without requests in bytes.
let measure (peer: Peer) : Task<float * int64> = task {
    let scenario = Scenarios.forStart
    use targets = new NginxTargets(scenario.Targets, scenario.Response, false)
    let watch = Stopwatch.StartNew()
    let! running = peer.Start [ Scenario.host ] targets.Ports
    use _ = running.Owned

    while not (isListening running.Port) do
        do! Task.Delay 1

    use generator = new LoadGenerator(running.Port, Scenario.request scenario, 1)
    let result = generator.Saturate(1L, System.TimeSpan.FromSeconds 10.0)
    let elapsed = watch.Elapsed.TotalMilliseconds

    if result.Accepted <> 1L then
        failwith $"{peer.Name} did not answer 202"

    do! Task.Delay 1000
    return elapsed, (ProcessSample.read running.ProcessId).Memory
}
