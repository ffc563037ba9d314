/// What clients and targets do to event loops that is rare: many at once, slow ones, other addresses.
module K8sReq.Proxy.Tests.LoopStressTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private loops (count: int) (settings: Settings) = {
    settings with
        EventLoops = Some count
}

let private get (path: string) =
    $"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"

/// A client whose system takes no more than a few kilobytes that it does not read.
let private connectNarrow (port: int) = task {
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, ReceiveBufferSize = 4096)

    do! socket.ConnectAsync(IPEndPoint(IPAddress.Loopback, port))
    return socket
}

/// From now on the proxy's system keeps no more than a few kilobytes of responses for a client that does not read them: it has
/// room for thousands. What a socket is accepted by says so.
let private narrow (port: int) : unit =
    for descriptor in Directory.GetFiles "/proc/self/fd" do
        try
            use handle =
                new SafeSocketHandle(
                    nativeint (Path.GetFileName descriptor |> string |> int),
                    ownsHandle = false
                )

            use socket = new Socket(handle)

            match socket.LocalEndPoint with
            | :? IPEndPoint as local when
                local.Port = port
                && socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.AcceptConnection) :?> int =
                    1
                ->
                socket.SendBufferSize <- 4096
            | _ -> ()
        with
        // It is no socket, or closed by now.
        | :? SocketException
        | :? ObjectDisposedException -> ()

/// Sends these requests one behind the other, without reading anything, and gives what becomes of that; goes on once the proxy
/// takes no more of them, as it cannot answer. Their answers are more than the systems of both sides keep.
let private sendUnread (proxy: TestProxy) (socket: Socket) (count: int) : Task<Task> = task {
    let bytes =
        Encoding.Latin1.GetBytes(String.concat "" [ for n in 1..count -> get $"/{n}" ])

    let sending: Task = task {
        let mutable sent = 0

        while sent < bytes.Length do
            let! more = socket.SendAsync(ArraySegment(bytes, sent, bytes.Length - sent))
            sent <- sent + more
    }

    let mutable before = -1L

    // Where it is only slow, it gets stuck later: what follows holds all the same.
    do!
        Waiting.until "the proxy to be stuck" (fun () -> task {
            do! Task.Delay 300
            let now = proxy.Totals.Accepted
            let isStuck = now = before && now > 0L
            before <- now
            return isStuck
        })

    return sending
}

let private isReset (socket: Socket) =
    socket.Blocking <- false

    try
        socket.Send "x"B |> ignore
        false
    with :? SocketException as error ->
        error.SocketErrorCode <> SocketError.WouldBlock

let private notReading =
    testList "a client that does not read its responses" [
        testCaseTask "gets all of them once it does"
        <| fun () -> task {
            let count = 5_000
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ], loops 1)
            narrow proxy.Port
            use! socket = connectNarrow proxy.Port
            let! sending = sendUnread proxy socket count
            Expect.isLessThan proxy.Totals.Accepted (int64 count) "it is stuck before the last one"

            use reader = new StreamReader(new NetworkStream(socket), Encoding.Latin1)
            let mutable accepted = 0
            let mutable answered = 0

            while answered < count do
                let! line = reader.ReadLineAsync() |> Waiting.within "a line"
                let line = nonNull line

                if line.StartsWith "HTTP/1.1 " then
                    answered <- answered + 1

                if line = "HTTP/1.1 202 Accepted" then
                    accepted <- accepted + 1

            do!
                Waiting.until "the requests to be sent" (fun () ->
                    Task.FromResult sending.IsCompletedSuccessfully)

            do! proxy.Settled()
            // A queue that is full refuses: that is an answer, too.
            Expect.equal (int64 accepted) proxy.Totals.Accepted "each that was accepted is told so once"
        }

        testCaseTask "is given up after a while, and others are served meanwhile"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ], loops 1)
            narrow proxy.Port
            use! socket = connectNarrow proxy.Port
            let! _ = sendUnread proxy socket 5_000
            use! other = TestClient.Connect proxy.Port
            do! other.Send(get "/other")
            let! answer = other.Answer()
            Expect.equal (TestClient.status answer) 202 "another client's"

            // Over what it has not read, or not sent: a reset.
            do! Waiting.until "its end" (fun () -> Task.FromResult(isReset socket))
            do! proxy.Settled()
        }
    ]

let private many =
    testCaseTask "a thousand connections that wait are served when they send"
    <| fun () -> task {
        use target = TestTarget.ok ()
        use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ], loops 2)
        let clients = ResizeArray<TestClient>()

        try
            for _ in 1..1_000 do
                let! client = TestClient.Connect proxy.Port
                clients.Add client

            // Twice each: the first one may be served before all are there.
            for round in 1..2 do
                for client in clients do
                    do! client.Send(get $"/{round}")

                for client in clients do
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 "accepted"

            do! proxy.Settled()
            Expect.equal proxy.Totals.Delivered 2_000L "and copied"
        finally
            for client in clients do
                (client :> IDisposable).Dispose()
    }

let private ofIPv6 =
    testList "IPv6" [
        for transport, count in [ "sockets", 0; "loops", 1 ] do
            if Socket.OSSupportsIPv6 then
                testCaseTask $"for clients and targets, on {transport}"
                <| fun () -> task {
                    use target = TestTarget.okAt IPAddress.IPv6Loopback

                    let manifests =
                        (Manifests.route "a.example" [ target.Port ])
                            .Replace("clusterIP: 127.0.0.1", "clusterIP: '::1'")

                    use! proxy =
                        TestProxy.Start(
                            manifests,
                            fun settings -> {
                                loops count settings with
                                    HttpAddr = {
                                        settings.HttpAddr with
                                            Host = ListenHost.Address IPAddress.IPv6Loopback
                                    }
                            }
                        )

                    use client = new TcpClient(AddressFamily.InterNetworkV6)
                    do! client.ConnectAsync(IPAddress.IPv6Loopback, proxy.Port)
                    let stream = client.GetStream()

                    let request =
                        "POST /six HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"

                    do! stream.WriteAsync(ReadOnlyMemory(Encoding.Latin1.GetBytes request))
                    use reader = new StreamReader(stream, Encoding.Latin1)
                    let! line = reader.ReadLineAsync() |> Waiting.within "the answer"
                    Expect.equal line "HTTP/1.1 202 Accepted" "accepted"
                    let! copy = target.Next()
                    Expect.equal copy.Body "abc"B "the copy"
                    do! proxy.Settled()
                }
    ]

let tests =
    testList "event loops under stress" [
        if Transport.hasLoops then
            notReading
            many

        ofIPv6
    ]
