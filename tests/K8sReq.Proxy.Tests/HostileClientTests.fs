/// Whatever a client does: nothing is acknowledged or copied that was not received whole, nothing twice, and the other
/// clients do not notice.
module K8sReq.Proxy.Tests.HostileClientTests

open System
open System.IO
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

let private host = "Host: a.example\r\n"

let private post (path: string) (body: string) =
    $"POST /{path} HTTP/1.1\r\n{host}Content-Length: {body.Length}\r\n\r\n{body}"

let private withProxy change (test: TestProxy -> TestTarget -> Task<unit>) = task {
    use target = TestTarget.ok ()
    use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ], change)
    do! test proxy target
}

/// Sends one good request, which everything that was accepted before must have preceded, and expects that its copy is
/// the only one.
let private expectOnlyThis (proxy: TestProxy) (target: TestTarget) = task {
    let! answer = TestClient.roundTrip proxy.Port (post "last" "good")
    Expect.equal (TestClient.status answer) 202 "others are served"
    do! proxy.Settled()
    let! copy = target.Next()
    Expect.equal (copy.Start, copy.Text) ("POST /last HTTP/1.1", "good") "the only copy"
    Expect.equal (proxy.Totals.Accepted, target.Waiting) (1L, 0) "nothing else was accepted"
}

let private seconds (count: float) (settings: Settings) = {
    settings with
        ReadTimeout = TimeSpan.FromSeconds count
}

let private stopsWithin (count: float) (settings: Settings) = {
    settings with
        GracefulShutdownTimeout = TimeSpan.FromSeconds count
}

/// A request that is refused, by its status, and ends its connection.
let private refused status (request: string) name =
    testCaseTask name
    <| fun () ->
        withProxy id (fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port

            // The answer may come before everything has been sent.
            try
                do! client.Send request
            with :? IOException ->
                ()

            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) status "refused"
            let! isClosed = client.IsClosed()
            Expect.isTrue isClosed "the connection ends"
            do! expectOnlyThis proxy target
        })

/// A request that is cut off after each of its bytes but the last.
let private cutOff name (request: string) (leave: TestClient -> Task<unit>) =
    testCaseTask name
    <| fun () ->
        withProxy id (fun proxy target -> task {
            for length in 0 .. request.Length - 1 do
                use! client = TestClient.Connect proxy.Port
                do! client.Send(request.Substring(0, length))
                do! leave client

            do! expectOnlyThis proxy target
        })

let private withLength =
    $"POST /x HTTP/1.1\r\n{host}Content-Type: text/plain\r\nContent-Length: 20\r\n\r\n12345678901234567890"

let private chunked =
    $"POST /x HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n12345\r\nA\r\n1234567890\r\n0\r\nX: y\r\n\r\n"

let private resets (client: TestClient) = task { client.Reset() }

let private finishes (client: TestClient) = task {
    client.Finish()

    match! client.TryAnswer() with
    | Some answer -> Expect.notEqual (TestClient.status answer) 202 "not acknowledged"
    | None -> ()
}

let tests =
    testList "a client that" [
        $"GET / HTTP/1.1\r\n{host}X: {String('x', 100_000)}\r\n\r\n" |> refused 431
        <| "sends a giant field is answered 431"

        let manyFields = String.Join("", [ for n in 1..5000 -> $"X-{n}: {n}\r\n" ])

        $"GET / HTTP/1.1\r\n{host}{manyFields}\r\n" |> refused 431
        <| "sends thousands of fields is answered 431"

        $"GET /{String('x', 100_000)} HTTP/1.1\r\n{host}\r\n" |> refused 414
        <| "asks for a giant target is answered 414"

        cutOff "resets within a request of declared length, at each byte" withLength resets
        cutOff "closes within a request of declared length, at each byte" withLength finishes
        cutOff "resets within a chunked request, at each byte" chunked resets
        cutOff "closes within a chunked request, at each byte" chunked finishes

        testCaseTask "drips its head is answered 408 after the read timeout"
        <| fun () ->
            withProxy (seconds 1.0) (fun proxy target -> task {
                use! client = TestClient.Connect proxy.Port
                do! client.Send "POST / HTTP/1.1\r\n"
                let answering = client.Answer()

                try
                    while not answering.IsCompleted do
                        do! client.Send "X"
                        do! Task.Delay 20
                with :? IOException ->
                    ()

                let! answer = answering
                Expect.equal (TestClient.status answer) 408 "too slow"
                do! expectOnlyThis proxy target
            })

        testCaseTask "sends many requests at once has each answered and copied once, in order"
        <| fun () ->
            withProxy id (fun proxy target -> task {
                use! client = TestClient.Connect proxy.Port

                let requests =
                    String.Join("", [ for n in 1..200 -> post (string n) (String('b', n)) ])

                let sending = client.Send requests

                for _ in 1..200 do
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 "accepted"

                do! sending
                do! proxy.Settled()
                let! copies = target.Take 200

                Expect.equal
                    (copies |> List.map (fun copy -> copy.Start, copy.Body.Length) |> List.sort)
                    ([ for n in 1..200 -> $"POST /{n} HTTP/1.1", n ] |> List.sort)
                    "each once, with its own body"

                Expect.equal target.Waiting 0 "none twice"
            })

        testCaseTask "sends a good request and nonsense at once has the good one copied once"
        <| fun () ->
            withProxy id (fun proxy target -> task {
                use! client = TestClient.Connect proxy.Port
                do! client.Send(post "last" "good" + "\000\001nonsense\r\n\r\n")
                let! first = client.Answer()
                let! second = client.Answer()

                Expect.equal
                    (TestClient.status first, TestClient.status second)
                    (202, 400)
                    "each has its answer"

                let! isClosed = client.IsClosed()
                Expect.isTrue isClosed "the connection ends"
                let! copy = target.Next()
                Expect.equal copy.Text "good" "the good one"
                do! proxy.Settled()
                Expect.equal (proxy.Totals.Accepted, target.Waiting) (1L, 0) "alone"
            })

        testCaseTask "goes away after its request, before its answer, has it copied once"
        <| fun () ->
            withProxy id (fun proxy target -> task {
                for n in 1..50 do
                    use! client = TestClient.Connect proxy.Port
                    do! client.Send(post (string n) "good")
                    client.Finish()

                // All were received whole, so each is accepted, whoever may still read the answer.
                let! copies = target.Take 50
                do! proxy.Settled()

                Expect.equal
                    (copies |> List.map _.Start |> List.distinct |> List.length, target.Waiting)
                    (50, 0)
                    "each once"
            })

        testCaseTask "opens many connections and says nothing is in nobody's way, nor in that of the end"
        <| fun () ->
            withProxy (stopsWithin 1.0) (fun proxy target -> task {
                let idle = ResizeArray<TcpClient>()

                try
                    for _ in 1..1000 do
                        let client = new TcpClient()
                        do! client.ConnectAsync(Net.IPAddress.Loopback, proxy.Port)
                        idle.Add client

                    // Half of them have begun; a request that has may be finished until the time to stop is over.
                    for client in Seq.take 500 idle do
                        do! client.GetStream().WriteAsync("POST / HT"B, 0, 9)

                    do! expectOnlyThis proxy target
                    let! _ = proxy.Stop() |> Waiting.within "the end"
                    ()
                finally
                    for client in idle do
                        client.Dispose()
            })

        testCaseTask "resets a stream of HTTP/2 half-way is not acknowledged, and its connection goes on"
        <| fun () ->
            withProxy id (fun proxy target -> task {
                use handler = new Net.Http.SocketsHttpHandler()
                use invoker = new Net.Http.HttpMessageInvoker(handler)

                let request (path: string) (content: Net.Http.HttpContent) =
                    let message =
                        new Net.Http.HttpRequestMessage(
                            Net.Http.HttpMethod.Post,
                            $"http://127.0.0.1:{proxy.Port}{path}",
                            Version = Net.HttpVersion.Version20,
                            VersionPolicy = Net.Http.HttpVersionPolicy.RequestVersionExact,
                            Content = content
                        )

                    message.Headers.Host <- "a.example"
                    message

                for _ in 1..20 do
                    use stop = new Threading.CancellationTokenSource()
                    let isHalfSent = TaskCompletionSource()

                    let half = {
                        new Net.Http.HttpContent() with
                            member _.TryComputeLength length =
                                length <- 0L
                                false

                            member _.SerializeToStreamAsync(stream: Stream, _: Net.TransportContext) : Task =
                                task {
                                    do!
                                        stream.WriteAsync(
                                            Encoding.ASCII.GetBytes(String('x', 5000)),
                                            0,
                                            5000
                                        )

                                    do! stream.FlushAsync()
                                    isHalfSent.SetResult()
                                    do! Task.Delay(-1, stop.Token)
                                }
                    }

                    use message = request "/half" half
                    let sending = invoker.SendAsync(message, stop.Token)
                    do! isHalfSent.Task
                    stop.Cancel()

                    try
                        let! answer = sending
                        failtest $"answered {answer.StatusCode}"
                    with :? OperationCanceledException ->
                        ()

                do! expectOnlyThis proxy target
            })
    ]
