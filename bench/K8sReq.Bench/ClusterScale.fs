/// A big cluster: how long it takes until all routes are known, what they weigh, what a change costs and when it is seen.
module K8sReq.Bench.ClusterScale

open System
open System.Diagnostics
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit
open K8sReq.TestKit.ClusterObjects

let private objects = 10_000
let private changes = 500

// Between two changes, so that they do not become one; and in a burst, so that they do.
let private spacing = TimeSpan.FromMilliseconds 20.0

let private put (server: ApiServer) n (host: string) =
    server.Put(clone (Inputs.namespaceOf n) $"copy{n}" host $"app{n}" "http")

let private fill (server: ApiServer) =
    for n in 0 .. objects - 1 do
        server.Put(service (Inputs.namespaceOf n) $"app{n}" "127.0.0.1" 9)
        put server n $"h{n}.example"

let private statusWrites (server: ApiServer) =
    server.Calls
    |> Seq.filter (fun call -> call.Request.Method = "PATCH" && call.Code > 0)
    |> Seq.length

let private percentile (sorted: float[]) (share: float) =
    sorted[min (sorted.Length - 1) (int (share * float sorted.Length))]

let private settled (server: ApiServer) writes =
    let watch = Stopwatch.StartNew()

    task {
        while statusWrites server < writes && watch.Elapsed < TimeSpan.FromMinutes 5.0 do
            do! Task.Delay 200
    }

/// From a change in the API server to the first request that is answered by it, in milliseconds.
let private timeToSee (server: ApiServer) (client: TestClient) n = task {
    let host = $"moved{n}.example"
    let request = $"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"
    let watch = Stopwatch.StartNew()
    put server n host
    let mutable isSeen = false

    while not isSeen do
        do! client.Send request
        let! answer = client.Answer()
        isSeen <- TestClient.status answer = 202

    return watch.Elapsed.TotalMilliseconds
}

/// Within this process: a change of one Service among all of them, from the event to the lanes that requests find, in
/// milliseconds; without log and status.
let private timeToApply () =
    let lanes = LaneDirectory Inputs.newLane
    let mutable routing = Inputs.routingOf lanes objects

    let apply port =
        for n in 0 .. changes - 1 do
            routing <-
                Inputs.publish
                    lanes
                    (Routing.evolve routing (ClusterEvent.ServiceApplied(Inputs.serviceOf n port)))

    for port in 1..20 do
        apply port

    let watch = Stopwatch.StartNew()
    apply 81
    watch.Elapsed.TotalMilliseconds / float changes

let run () : Task = task {
    use! server = ApiServer.Create()
    // The client library takes no user without credentials.
    server.Token <- Some "token"
    use folder = new TestFolder()
    fill server
    let started = Stopwatch.StartNew()

    use program =
        PublishedProgram.Start(
            [
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
                "--concurrent=4"
            ],
            [ "KUBECONFIG", server.Kubeconfig folder.Path ]
        )

    let! port = program.Says @"Proxy listening on port (\d+)"
    let! _ = program.Says @"Routes: (\d+) hosts?"
    let ready = started.Elapsed
    let memoryWhenReady = ProcessView.peakMemory program.Id
    do! settled server objects
    let statuses = started.Elapsed
    use view = Process.GetProcessById program.Id

    let cpu () =
        view.Refresh()
        view.TotalProcessorTime.TotalMilliseconds

    do! Task.Delay(TimeSpan.FromSeconds 20.0)
    // What it costs to be there.
    let before = cpu ()
    do! Task.Delay(TimeSpan.FromSeconds 5.0)
    let idle = (cpu () - before) / 5.0

    // A port that changes moves a route and changes a message: a status is written, too.
    let changeOneByOne port = task {
        for n in 0 .. changes - 1 do
            server.Put(service (Inputs.namespaceOf n) $"app{n}" "127.0.0.1" port)
            do! Task.Delay spacing
    }

    // The first rounds are the compiler's.
    do! changeOneByOne 11
    do! changeOneByOne 12
    do! settled server (objects + 2 * changes)
    let before = cpu ()
    let watch = Stopwatch.StartNew()
    do! changeOneByOne 13
    do! settled server (objects + 3 * changes)
    let single = (cpu () - before - idle * watch.Elapsed.TotalSeconds) / float changes
    let before = cpu ()
    let watch = Stopwatch.StartNew()

    for n in 0 .. objects - 1 do
        server.Put(service (Inputs.namespaceOf n) $"app{n}" "127.0.0.1" 5)

    do! settled server (objects + 3 * changes + objects)
    let burst = (cpu () - before - idle * watch.Elapsed.TotalSeconds) / float objects
    use! client = TestClient.Connect(int port)
    let times = ResizeArray()

    for n in 0 .. changes - 1 do
        let! time = timeToSee server client n
        times.Add time

    let seen = times.ToArray() |> Array.sort
    let memory = ProcessView.peakMemory program.Id
    printfn "RequestClones, Services, namespaces          %d, %d, %d" objects objects Inputs.namespaces
    printfn "start to ready                               %.1f s" ready.TotalSeconds
    printfn "start to all statuses written                %.1f s" statuses.TotalSeconds

    printfn
        "peak memory when ready, at the end           %d MiB, %d MiB"
        (memoryWhenReady / 1048576L)
        (memory / 1048576L)

    printfn "a change applied to routing and lanes        %.3f ms" (timeToApply ())
    printfn "CPU, idle                                    %.1f ms/s" idle
    printfn "CPU per change, one by one, status included  %.2f ms" single
    printfn "CPU per change, in a burst, status included  %.2f ms" burst

    printfn
        "change to the first request that sees it     p50 %.1f ms, p99 %.1f ms"
        (percentile seen 0.5)
        (percentile seen 0.99)

    program.Terminate()
    let! _ = program.ExitCode()
    ()
}
