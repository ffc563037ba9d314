/// What clients cost that are connected and send nothing.
module K8sReq.Bench.IdleConnections

open System
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Threading.Tasks

type IdleFigures = {
    /// How many connections there were.
    Connections: int
    /// Resident memory with one connection, and with all of them, in bytes.
    Before: int64
    After: int64
    /// CPU seconds a second while nothing is sent.
    Cores: float
}

let private most = 10_000
// Until what is remembered of the last request is forgotten, and a collection has had its time.
let private rest = TimeSpan.FromSeconds 5.0
let private watched = TimeSpan.FromSeconds 5.0

let private connect (port: int) : Socket =
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

    socket.Connect(IPAddress.Loopback, port)
    socket

// Each connection has had a request: what a server keeps from one request to the next is there.
let private exchange (request: byte[]) (socket: Socket) =
    let response = Array.zeroCreate<byte> 4096
    socket.Send request |> ignore
    let count = socket.Receive response

    if ResponseHead.status (ReadOnlySpan(response, 0, count)) <> 202 then
        failwith "a request was not answered 202"

/// Takes some twenty seconds. Fails if a request is not answered 202, or if the peer or this process may not have so many connections.
let measure (peer: Peer) : Task<IdleFigures> = task {
    let scenario = Scenarios.forStart
    use targets = new NginxTargets(scenario.Targets, scenario.Response, false)
    let! running = peer.Start [ Scenario.host ] targets.Ports
    use _ = running.Owned
    let struct (head, body) = Scenario.bytes scenario
    let request = Array.append head body
    let sockets = ResizeArray<Socket>()

    try
        sockets.Add(connect running.Port)

        // What is compiled, and what the heap grows to, is not to be taken for the price of connections.
        for _ in 1..20_000 do
            exchange request sockets[0]

        do! Task.Delay rest
        let before = ProcessSample.read running.ProcessId

        while sockets.Count < most do
            let socket = connect running.Port
            sockets.Add socket
            exchange request socket

        do! Task.Delay rest
        let watch = Stopwatch.StartNew()
        let began = ProcessSample.read running.ProcessId
        do! Task.Delay watched
        let ended = ProcessSample.read running.ProcessId

        return {
            Connections = sockets.Count
            Before = before.Memory
            After = ended.Memory
            Cores = (ProcessUse.between began ended).Cpu.TotalSeconds / watch.Elapsed.TotalSeconds
        }
    finally
        for socket in sockets do
            socket.Dispose()
}
