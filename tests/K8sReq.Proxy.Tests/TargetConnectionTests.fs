/// Connections to targets: what is sent once, what is sent to its last byte, how old they grow, and many of them at once
/// to a target that does what it likes.
module K8sReq.Proxy.Tests.TargetConnectionTests

open System
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit.TestRequest
open K8sReq.TestKit

let private timeouts = {
    Write = TimeSpan.FromSeconds 10.0
    Read = TimeSpan.FromSeconds 20.0
}

let private create (transport: Transport) (clock: TimeProvider) (age: TimeSpan) (stop: CancellationToken) =
    TargetClient.create transport clock { Timeouts = timeouts; MaxAge = age } stop

let private send (client: TargetClient) port request = task {
    let! result =
        client.Invoke(Targets.at port "copy", request).AsTask()
        |> Waiting.within "the outcome"

    return result.Outcome
}

let private ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B

let private isSendFailed outcome =
    match outcome with
    | TargetOutcome.SendFailed _ -> true
    | _ -> false

/// How a target ends a connection.
let private ends = [
    "closes", (fun (socket: Socket) -> socket.Close())
    "resets",
    (fun (socket: Socket) ->
        socket.LingerState <- LingerOption(true, 0)
        socket.Close())
]

/// How much of the second request on a connection a target reads before it ends it.
let private reads = [
    "the whole request",
    (fun (reader: HttpMessage.MessageReader) -> task {
        let! _ = reader.Read()
        return ()
    })
    "half of the request",
    (fun (reader: HttpMessage.MessageReader) -> task {
        let! _ = reader.ReadHead()
        return ()
    })
]

// How far the system is with a large request when the target ends the connection is chance: often enough to meet a part that
// was taken before sending failed.
let private rounds size = if size > 1000 then 10 else 1

let private isSentOnce transport read close size : Task<unit> = task {
    let mutable heads = 0

    use target =
        new TestTarget(fun _ stream reader -> task {
            // Often enough that the system acknowledges late, together with what it answers.
            for _ in 1..20 do
                let! _ = reader.Read()
                do! stream.WriteAsync(ok, 0, ok.Length)

            do! read reader
            Interlocked.Increment &heads |> ignore
            close stream.Socket
        })

    let client, connections =
        create transport TimeProvider.System TimeSpan.Zero CancellationToken.None

    use _ = connections

    for _ in 1..20 do
        let! outcome = send client target.Port (post "abc"B)
        Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

    let! outcome = send client target.Port (post (Array.zeroCreate size))
    Expect.isTrue (isSendFailed outcome) $"{outcome}"
    // It would be here by now: a copy that is repeated ends after its repetition.
    Expect.equal (target.Connections, Volatile.Read &heads) (1, 1) "came once"
}

let private sentOnce (transport: Transport) =
    testList "what a target may have taken is not sent again" [
        for how, close in ends do
            for what, read in reads do
                for size in [ 3; 3_000_000 ] do
                    testCaseTask $"it reads {what}, of {size} bytes, and {how}"
                    <| fun () -> task {
                        for _ in 1 .. rounds size do
                            do! isSentOnce transport read close size
                    }
    ]

/// Serves connections on a thread each; a connection that is idle for a while is closed, as servers do.
[<Sealed>]
type private IdleCloser() =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    let mutable requests = 0
    let mutable closedOverRequest = 0
    let bodies = System.Collections.Concurrent.ConcurrentQueue<string>()

    let serve (socket: Socket) =
        use socket = socket
        let buffer = Array.zeroCreate<byte> 4096
        let mutable isOpen = true

        while isOpen do
            let patience = 50 + Random.Shared.Next 50

            if not (socket.Poll(patience * 1000, SelectMode.SelectRead)) then
                isOpen <- false
                socket.Shutdown SocketShutdown.Send

                // What crosses the end on its way may have been taken, for all that the sender can know.
                if socket.Receive buffer > 0 then
                    Interlocked.Increment &closedOverRequest |> ignore
            else
                let count = socket.Receive buffer

                if count = 0 then
                    isOpen <- false
                else
                    let text = Text.Encoding.Latin1.GetString(buffer, 0, count)
                    Interlocked.Increment &requests |> ignore
                    bodies.Enqueue(text.Substring(text.IndexOf "\r\n\r\n" + 4))
                    socket.Send ok |> ignore

    let accept () =
        try
            while true do
                let socket = listener.AcceptSocket()

                Thread(
                    (fun () ->
                        try
                            serve socket
                        with
                        | :? SocketException
                        | :? ObjectDisposedException -> ()),
                    IsBackground = true
                )
                    .Start()
        with
        // Stopped between two connections.
        | :? InvalidOperationException
        | :? SocketException
        | :? ObjectDisposedException -> ()

    do
        listener.Start 512
        Thread(accept, IsBackground = true).Start()

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port
    member _.Bodies = List.ofSeq bodies
    member _.ClosedOverRequest = Volatile.Read &closedOverRequest

    interface IDisposable with
        member _.Dispose() = listener.Stop()

let private idleClosing (transport: Transport) =
    testCaseTask "a target that closes idle connections gets every copy, and each once"
    <| fun () -> task {
        use target = new IdleCloser()

        let client, connections =
            create transport TimeProvider.System TimeSpan.Zero CancellationToken.None

        use _ = connections
        let failures = ResizeArray<TargetOutcome>()
        let sent = [ for n in 1..250 -> string n ]

        for body in sent do
            // The time between two requests is what is tested: it is near the target's limit.
            do! Task.Delay(45 + Random.Shared.Next 15)
            let! outcome = send client target.Port (post (Text.Encoding.ASCII.GetBytes body))

            if outcome <> TargetOutcome.Delivered 200 then
                failures.Add outcome

        let bodies = target.Bodies
        Expect.equal (List.distinct bodies |> List.length) bodies.Length "none twice"
        Expect.isLessThanOrEqual failures.Count target.ClosedOverRequest $"none lost: %A{failures}"
        Expect.equal bodies.Length (sent.Length - failures.Count) "what was delivered came"
    }

let private wholly (transport: Transport) =
    testList "an answer before the end of the request" [
        testCaseTask "2xx: the rest is sent, and then it is delivered"
        <| fun () -> task {
            let size = 20_000_000
            let mutable received = 0L

            use target =
                new TestTarget(fun _ stream reader -> task {
                    match! reader.ReadHead() with
                    | None -> ()
                    | Some(_, fields) ->
                        do! stream.WriteAsync(ok, 0, ok.Length)
                        let! body = reader.ReadBody fields
                        Volatile.Write(&received, body.LongLength)
                })

            let client, connections =
                create transport TimeProvider.System TimeSpan.Zero CancellationToken.None

            use _ = connections
            let! outcome = send client target.Port (post (Array.zeroCreate size))
            Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

            do!
                Waiting.until "the whole body" (fun () ->
                    Task.FromResult(Volatile.Read &received = int64 size))
        }

        testCaseTask "2xx, and the target closes with the rest unread: it is not delivered"
        <| fun () -> task {
            use target =
                new TestTarget(fun _ stream reader -> task {
                    let! _ = reader.ReadHead()
                    do! stream.WriteAsync(ok, 0, ok.Length)
                })

            let client, connections =
                create transport TimeProvider.System TimeSpan.Zero CancellationToken.None

            use _ = connections
            let! outcome = send client target.Port (post (Array.zeroCreate 50_000_000))
            Expect.isTrue (isSendFailed outcome) $"{outcome}"
        }

        testCaseTask "2xx, and the target reads no more: it times out, and is not delivered"
        <| fun () -> task {
            let answered = TaskCompletionSource<unit>()

            use target =
                new TestTarget(fun _ stream reader -> task {
                    let! _ = reader.ReadHead()
                    do! stream.WriteAsync(ok, 0, ok.Length)
                    answered.SetResult(())
                    do! Task.Delay Timeout.Infinite
                })

            let clock = TestClock()

            let client, connections =
                create transport clock TimeSpan.Zero CancellationToken.None

            use _ = connections
            let sending = send client target.Port (post (Array.zeroCreate 50_000_000))
            do! answered.Task |> Waiting.within "the answer"

            do!
                Waiting.until "the timeout" (fun () ->
                    clock.Advance timeouts.Write
                    Task.FromResult sending.IsCompleted)

            let! outcome = sending
            Expect.equal outcome (TargetOutcome.TimedOut TimeoutPhase.Sending) "timed out"
        }
    ]

let private ages (transport: Transport) =
    testList "a connection's age" [
        testCaseTask "copies follow the Service to another pod"
        <| fun () -> task {
            let clock = TestClock()
            let age = TimeSpan.FromSeconds 30.0
            let client, connections = create transport clock age CancellationToken.None
            use _ = connections
            use listener = new TcpListener(IPAddress.Loopback, 0)
            listener.Start()
            let port = (listener.LocalEndpoint :?> IPEndPoint).Port

            // Who takes the connections changes; those that are open stay open, as behind a Service's address.
            let pods = System.Collections.Concurrent.ConcurrentQueue<int>()

            let serve pod (socket: Socket) = task {
                use stream = new NetworkStream(socket, true)
                let reader = HttpMessage.MessageReader stream
                let mutable isOpen = true

                while isOpen do
                    match! reader.Read() with
                    | None -> isOpen <- false
                    | Some _ ->
                        pods.Enqueue pod
                        do! stream.WriteAsync(ok, 0, ok.Length)
            }

            let acceptAs pod = task {
                let! socket = listener.AcceptSocketAsync()
                serve pod socket |> ignore
            }

            let blue = acceptAs 1

            for _ in 1..3 do
                let! outcome = send client port get
                Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

            do! blue
            let green = acceptAs 2
            clock.Advance age

            for _ in 1..3 do
                let! outcome = send client port get
                Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

            do! green
            Expect.equal (List.ofSeq pods) [ 1; 1; 1; 2; 2; 2 ] "the new pod has them"
        }

        testCaseTask "without a limit a connection is kept"
        <| fun () -> task {
            use target = TestTarget.ok ()
            let clock = TestClock()

            let client, connections =
                create transport clock TimeSpan.Zero CancellationToken.None

            use _ = connections

            for _ in 1..10 do
                let! outcome = send client target.Port get
                Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"
                clock.Advance(TimeSpan.FromSeconds 40.0)

            Expect.equal target.Connections 1 "one"
        }

        testCaseTask "an exchange that lasts longer is not cut off"
        <| fun () -> task {
            let mayAnswer = TaskCompletionSource()

            use target =
                new TestTarget(fun keep stream reader -> task {
                    let! message = reader.Read()
                    Option.iter keep message
                    do! mayAnswer.Task
                    do! stream.WriteAsync(ok, 0, ok.Length)
                })

            let clock = TestClock()

            let client, connections =
                create transport clock (TimeSpan.FromSeconds 5.0) CancellationToken.None

            use _ = connections
            let sending = send client target.Port get
            let! _ = target.Next()
            clock.Advance(TimeSpan.FromSeconds 9.0)
            mayAnswer.SetResult()
            let! outcome = sending
            Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"
        }

        for opened, used in [ 4, 4; 24, 16 ] do
            testCaseTask $"of {opened} idle connections {used} are used, whatever comes one after the other"
            <| fun () -> task {
                let together =
                    TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

                let mutable begun = 0
                let mutable isSpreading = true
                let counts = System.Collections.Concurrent.ConcurrentDictionary<int, int>()

                use target =
                    new TestTarget(fun _ stream reader -> task {
                        let id = stream.Socket.Handle.GetHashCode()
                        let mutable isOpen = true

                        while isOpen do
                            match! reader.Read() with
                            | None -> isOpen <- false
                            | Some _ ->
                                if Volatile.Read &isSpreading then
                                    if Interlocked.Increment &begun = opened then
                                        together.SetResult()

                                    do! together.Task
                                else
                                    counts.AddOrUpdate(id, 1, (fun _ count -> count + 1)) |> ignore

                                do! stream.WriteAsync(ok, 0, ok.Length)
                    })

                let client, connections =
                    create transport TimeProvider.System (TimeSpan.FromHours 1.0) CancellationToken.None

                use _ = connections
                // As many at once: as many connections.
                let! _ = Task.WhenAll [ for _ in 1..opened -> send client target.Port get ]
                Volatile.Write(&isSpreading, false)

                for _ in 1..120 do
                    let! outcome = send client target.Port get
                    Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

                Expect.equal counts.Count used "so many"
            }
    ]

/// What a hostile target does after it has read a request, by chance.
let private hostile _ (stream: NetworkStream) (reader: HttpMessage.MessageReader) : Task<unit> = task {
    let mutable isOpen = true

    while isOpen do
        match! reader.ReadHead() with
        | None -> isOpen <- false
        | Some(start: string, fields) ->
            // The status that this request alone is answered with.
            let path = start.Split(' ')[1]
            let status = Int32.Parse(path.TrimStart '/')

            let answer =
                Text.Encoding.ASCII.GetBytes $"HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nabc"

            match Random.Shared.Next 12 with
            | 0 ->
                stream.Socket.LingerState <- LingerOption(true, 0)
                isOpen <- false
            | 1 -> isOpen <- false
            // Before the body.
            | 2 ->
                do! stream.WriteAsync(answer, 0, answer.Length)
                let! _ = reader.ReadBody fields
                ()
            | 3 ->
                do! stream.WriteAsync(answer, 0, answer.Length)
                isOpen <- false
            | 4 ->
                let! _ = reader.ReadBody fields
                do! stream.WriteAsync("SSH-2.0\r\n\r\n"B, 0, 11)
                isOpen <- false
            | 5 ->
                let! _ = reader.ReadBody fields

                for index in 0 .. answer.Length - 1 do
                    do! stream.WriteAsync(answer, index, 1)
            // Says nothing more: the client's limit ends it.
            | 6 -> do! Task.Delay(TimeSpan.FromSeconds 1.0)
            | 7 ->
                let! _ = reader.ReadBody fields
                do! stream.WriteAsync(answer, 0, answer.Length)
                // Idle for a moment, then gone.
                do! Task.Delay(Random.Shared.Next 3)
                isOpen <- false
            | _ ->
                let! _ = reader.ReadBody fields
                do! stream.WriteAsync(answer, 0, answer.Length)
}

let private storm (transport: Transport) =
    testCaseTask
        "from many threads to a hostile target: every attempt ends once, with its own answer; the stop ends all"
    <| fun () -> task {
        use target = new TestTarget(hostile, forgets = true)
        // Each asks for a status of its own.
        let requests =
            Array.init 50 (fun n ->
                TestRequest.create "POST" $"/{200 + n}" (Some(Array.zeroCreate (n * n * 40))))

        let mutable wrong = 0
        let mutable ended = 0
        let mutable begun = 0

        for round in 1..6 do
            use stop = new CancellationTokenSource()

            let client, connections =
                TargetClient.create
                    transport
                    TimeProvider.System
                    {
                        Timeouts = {
                            Write = TimeSpan.FromMilliseconds 200.0
                            Read = TimeSpan.FromMilliseconds 200.0
                        }
                        // Connections are closed all the time, and so are pools.
                        MaxAge =
                            if round % 2 = 0 then
                                TimeSpan.FromMilliseconds 5.0
                            else
                                TimeSpan.Zero
                    }
                    stop.Token

            let sendMany (seed: int) = task {
                for n in 0..149 do
                    let kind = (seed + n) % requests.Length
                    Interlocked.Increment &begun |> ignore
                    let! result = client.Invoke(Targets.at target.Port "copy", requests[kind]).AsTask()
                    Interlocked.Increment &ended |> ignore

                    match result.Outcome with
                    | TargetOutcome.Delivered status when status <> 200 + kind ->
                        Interlocked.Increment &wrong |> ignore
                    | _ -> ()
            }

            let senders = [ for seed in 0..15 -> Task.Run<unit>(fun () -> sendMany (seed * 7)) ]
            let all = Task.WhenAll senders

            // Half of the rounds are stopped somewhere in the middle.
            if round > 3 then
                let middle = Volatile.Read &ended + 300
                do! Waiting.until "the middle" (fun () -> Task.FromResult(Volatile.Read &ended >= middle))
                stop.Cancel()

            let! _ = all |> Waiting.within "all attempts"
            connections.Dispose()

        Expect.equal ended begun "each ended"
        Expect.equal wrong 0 "each with the answer to its own request"
    }

let tests =
    testList "Connections to targets" [
        for name, transport in Transports.all do
            let transport = transport ()

            testList name [
                sentOnce transport
                idleClosing transport
                wholly transport
                ages transport
                storm transport
            ]
    ]
