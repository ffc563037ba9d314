/// Answers other than 202: each is counted by its code and has its reason in the log at debug, whoever gives it, and none
/// leaves a connection in a state that the client does not know of.
module K8sReq.Proxy.Tests.RefusalTests

open System
open System.IO
open System.Net.Http
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private host = "Host: a.example\r\n"
let private many = String.Join("", [ for n in 1..600 -> $"X-{n}: 1\r\n" ])

/// A name, what is sent, how it is answered, and the reason in the metrics.
let private refusals: (string * string * int * string) list = [
    "no HTTP", "hello\r\n\r\n", 400, "malformed"
    "a line that is no field", $"GET / HTTP/1.1\r\n{host}no field\r\n\r\n", 400, "malformed"
    "a field without a name", $"GET / HTTP/1.1\r\n{host}: x\r\n\r\n", 400, "malformed"
    "a space before the colon", $"GET / HTTP/1.1\r\n{host}X : 1\r\n\r\n", 400, "malformed"
    "a line feed in a field", $"GET / HTTP/1.1\r\n{host}X: 1\n 2\r\n\r\n", 400, "malformed"
    "a head that is too large", $"GET / HTTP/1.1\r\n{host}X: {String('x', 70_000)}\r\n\r\n", 431, "too_large"
    "too many fields", $"GET / HTTP/1.1\r\n{host}{many}\r\n", 431, "too_large"
    "a target that is too long", $"GET /{String('x', 40_000)} HTTP/1.1\r\n{host}\r\n", 414, "too_large"
    "no Host", "GET / HTTP/1.1\r\n\r\n", 400, "malformed"
    "two Hosts", $"GET / HTTP/1.1\r\n{host}{host}\r\n", 400, "malformed"
    "a Host that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed"
    "another version", $"GET / HTTP/3.9\r\n{host}\r\n", 505, "malformed"
    "no version", $"GET /\r\n{host}\r\n", 400, "malformed"
    "no target", $"GET  HTTP/1.1\r\n{host}\r\n", 400, "malformed"
    "the beginning of TLS",
    "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
    400,
    "malformed"
    "two framings",
    $"POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400,
    "ambiguous_length"
    "a length that is none", $"POST / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n", 400, "malformed"
    "a chunk that is none",
    $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    400,
    "bad_body"
    "another coding",
    $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    501,
    "transfer_coding"
    "CONNECT", "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", 501, "tunnel"
    "a host without a target", "GET / HTTP/1.1\r\nHost: unknown.example\r\n\r\n", 503, "no_route"
    "a loop", $"GET / HTTP/1.1\r\n{host}Via: 1.1 k8sreq\r\n\r\n", 508, "loop"
    "a body that is too large", $"POST / HTTP/1.1\r\n{host}Content-Length: 3000000\r\n\r\n", 413, "too_large"
    "a head that does not end", $"GET / HTTP/1.1\r\n{host}", 408, "too_slow"
    "a body that does not end", $"POST / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\na", 408, "too_slow"
]

let private impatient (settings: Settings) = {
    settings with
        ReadTimeout = TimeSpan.FromSeconds 1.0
}

let private counted (proxy: TestProxy) (status: int) = task {
    let! page = Scrape.text proxy.MetricsPort

    return
        page.Split '\n'
        |> Array.filter (fun line ->
            line.StartsWith($"k8sreq_requests_total{{code=\"{status}\"", StringComparison.Ordinal))
        |> Array.sumBy (fun line -> int64 (line.Substring(line.LastIndexOf ' ' + 1)))
}

let tests =
    testList "refusals" [
        for name, request, status, word in refusals do
            testCaseTask $"{name}: {status}, counted, with its reason"
            <| fun () -> task {
                use target = TestTarget.ok ()
                use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ], impatient)
                use! client = TestClient.Connect proxy.Port

                // The answer may come before everything has been sent.
                try
                    do! client.SendBytes(Encoding.Latin1.GetBytes request)
                with :? IOException ->
                    ()

                let! answer = client.Answer()
                Expect.equal (TestClient.status answer) status "refused"

                do!
                    Waiting.until "the count" (fun () -> task {
                        let! count = counted proxy status
                        return count > 0L
                    })

                let! count = counted proxy status
                Expect.equal count 1L "counted once"
                let! page = Scrape.text proxy.MetricsPort

                Expect.stringContains
                    page
                    $"k8sreq_requests_total{{code=\"{status}\",reason=\"{word}\"}} 1"
                    "by its reason"

                do!
                    Waiting.until "the reason" (fun () ->
                        Task.FromResult(
                            proxy.DebugLog
                            |> List.exists (fun line ->
                                line.StartsWith($"Answered {status} to", StringComparison.Ordinal)
                                && not (line.TrimEnd().EndsWith ':'))
                        ))

                Expect.equal (proxy.Totals.Accepted, target.Waiting) (0L, 0) "nothing is copied"
            }

        testCaseTask "a host without a target is named at debug, so many times and no more"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            for _ in 1..50 do
                let! answer = TestClient.get proxy.Port "unknown.example"
                Expect.equal (TestClient.status answer) 503 "refused"

            let lines =
                proxy.DebugLog |> List.filter (fun line -> line.Contains "\"unknown.example\"")

            Expect.hasLength lines 20 "the first of them"

            do!
                Waiting.until "all to be counted" (fun () -> task {
                    let! count = counted proxy 503
                    return count = 50L
                })
        }

        testCaseTask "a host without a target is logged once, and so many hosts and no more"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            let lines () =
                proxy.Log
                |> List.filter _.Contains("is routed for host")
                |> List.map _.TrimEnd()

            for _ in 1..3 do
                let! _ = TestClient.get proxy.Port "unknown.example"
                ()

            Expect.equal
                (lines ())
                [
                    "Warning: No RequestClone is routed for host \"unknown.example\": its requests get 503. Logged once for a host"
                ]
                "once, however often it comes"

            for number in 1..20 do
                let! _ = TestClient.get proxy.Port $"other-{number}.example"
                ()

            Expect.hasLength (lines ()) 5 "no flood of names is a flood of lines"
        }

        testCaseTask "the 508 names the entry of the Via field, and says what to set"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            let! answer =
                TestClient.roundTrip
                    proxy.Port
                    $"GET / HTTP/1.1\r\n{host}Via: 1.0 first, 1.1 K8SREQ (x)\r\n\r\n"

            Expect.stringContains answer.Text "\"1.1 K8SREQ (x)\"" "the entry"
            Expect.stringContains answer.Text "VIA_NAME" "the setting"
        }

        for name, head, status in
            [
                "a host without a target", "POST / HTTP/1.1\r\nHost: unknown.example\r\n", 503
                "a loop", $"POST / HTTP/1.1\r\n{host}Via: 1.1 k8sreq\r\n", 508
                "a method that is none", $"P(ST / HTTP/1.1\r\n{host}", 400
                "a body that is too large", $"POST / HTTP/1.1\r\n{host}X: 1\r\n", 413
            ] do
            testCaseTask
                $"a client that waits for leave to send its body is refused ({name}), and the connection ends"
            <| fun () -> task {
                use target = TestTarget.ok ()
                use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
                use! client = TestClient.Connect proxy.Port
                let length = if status = 413 then 3_000_000 else 3
                do! client.Send $"{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
                let! answer = client.Answer()
                Expect.equal (TestClient.status answer) status "refused"
                Expect.equal (answer.Values "Connection") [ "close" ] "and said so"
                let! isClosed = client.IsClosed()
                Expect.isTrue isClosed "nothing more is read from it"
            }

        for name, head in
            [
                "a host without a target", "POST / HTTP/1.1\r\nHost: unknown.example\r\n"
                "a loop", $"POST / HTTP/1.1\r\n{host}Via: 1.1 k8sreq\r\n"
            ] do
            testCaseTask $"a refused request with a large body ends its connection ({name}), and says so"
            <| fun () -> task {
                use target = TestTarget.ok ()
                use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
                use! client = TestClient.Connect proxy.Port
                do! client.Send $"{head}Content-Length: 65537\r\n\r\nabc"
                let! answer = client.Answer()
                Expect.equal (answer.Values "Connection") [ "close" ] "its body is not waited for"
                use! chunked = TestClient.Connect proxy.Port
                let chunk = $"8000\r\n{String('x', 0x8000)}\r\n"
                do! chunked.Send $"{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}1\r\nx\r\n"
                let! answer = chunked.Answer()
                Expect.equal (answer.Values "Connection") [ "close" ] "nor one of a length unknown"
            }

            testCaseTask $"a refused request with a slow body ends its connection ({name}), and says so"
            <| fun () -> task {
                use target = TestTarget.ok ()
                let clock = TestClock()
                use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ], id, clock)
                use! client = TestClient.Connect proxy.Port
                do! client.Send $"{head}Content-Length: 6\r\n\r\nabc"
                do! clock.TimerStarted(TimeSpan.FromSeconds 1.0)
                clock.Advance(TimeSpan.FromSeconds 1.0)
                let! answer = client.Answer()
                Expect.equal (answer.Values "Connection") [ "close" ] "the rest is not waited for"
                use! quick = TestClient.Connect proxy.Port
                do! quick.Send $"{head}Content-Length: 6\r\n\r\nabc"
                do! clock.TimerStarted(TimeSpan.FromSeconds 1.0)
                do! quick.Send "def"
                let! answer = quick.Answer()
                Expect.equal (answer.Values "Connection") [] "a body that comes is read"
            }

        testCaseTask "a refused request whose body comes is followed by others on its connection"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
            use! client = TestClient.Connect proxy.Port

            do!
                client.Send(
                    "POST / HTTP/1.1\r\nHost: unknown.example\r\nContent-Length: 30\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n"
                    + $"POST /next HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nhi"
                )

            let! first = client.Answer()
            let! second = client.Answer()
            Expect.equal (TestClient.status first, TestClient.status second) (503, 202) "each its own"
            let! copy = target.Next()

            Expect.equal
                (copy.Start, copy.Text)
                ("POST /next HTTP/1.1", "hi")
                "the body was not taken for a request"
        }

        testCaseTask
            "HTTP/2: a field of 60 KB is taken, a head that is too large is refused on its stream alone"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
            use! client = Http2Client.Connection.Open proxy.Port

            let request (size: int) = [
                ":authority", "a.example"
                ":path", $"/{size}"
                "x-large", String('x', size)
            ]

            for size in [ 33_000; 60_000 ] do
                let! stream = client.Send(request size)
                let! status = client.Status stream
                Expect.equal status 202 $"{size} bytes"
                let! copy = target.Next()
                Expect.hasLength ((copy.Values "x-large").Head) size "copied whole"

            let! large = client.Send(request 70_000)
            let! small = client.Send(request 10)
            // Streams are answered in any order.
            let! accepted = client.Status small
            Expect.equal accepted 202 "the connection serves other streams"
            let! refused = client.Status large
            Expect.equal refused 431 "too large"

            // The server refuses these by itself: heads that are waited for are none of them for ever.
            for _ in 1..6 do
                let! _ = client.Send(request 70_000)
                ()

            let! last = client.Send(request 10)
            let! accepted = client.Status last
            Expect.equal accepted 202 "after more of them than are read ahead"

            do!
                Waiting.until "the count" (fun () -> task {
                    let! count = counted proxy 431
                    return count = 7L
                })
        }

        testCaseTask "HTTP/2: requests that come all at once, more than are read ahead, are all answered"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            use client =
                new HttpClient(
                    new SocketsHttpHandler(EnableMultipleHttp2Connections = false),
                    DefaultRequestVersion = System.Version(2, 0),
                    DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact
                )

            let send (n: int) = task {
                use request =
                    new HttpRequestMessage(HttpMethod.Post, $"http://127.0.0.1:{proxy.Port}/{n}")

                request.Headers.Host <- "a.example"
                request.Headers.Add("x-large", String('x', 100 * (n % 50)))
                request.Content <- new StringContent $"body {n}"
                use! answer = client.SendAsync request
                return int answer.StatusCode
            }

            for _ in 1..3 do
                let! statuses = Task.WhenAll [ for n in 1..90 -> send n ]
                Expect.equal (statuses |> Array.countBy id) [| 202, 90 |] "accepted"

            let! copies = target.Take 270
            Expect.equal (copies |> List.countBy _.Text |> List.map snd |> List.distinct) [ 3 ] "each copied"
        }

        testCaseTask "HTTP/2: each refusal is counted, with its reason, and others go on on the connection"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
            use! client = Http2Client.Connection.Open proxy.Port

            for name, fields, expected in
                [
                    "no target", [ ":authority", "unknown.example"; ":path", "/" ], 503
                    "a loop", [ ":authority", "a.example"; ":path", "/"; "via", "1.1 k8sreq" ], 508
                    "a path that is none", [ ":authority", "a.example"; ":path", "/x y" ], 400
                ] do
                let! stream = client.Send fields
                let! status = client.Status stream
                Expect.equal status expected name

                // What is answered is counted a moment later.
                do!
                    Waiting.until $"{name}: to be counted" (fun () -> task {
                        let! count = counted proxy expected
                        return count = 1L
                    })

                Expect.isTrue
                    (proxy.DebugLog
                     |> List.exists (fun line ->
                         line.StartsWith($"Answered {expected} to", StringComparison.Ordinal)
                         && not (line.TrimEnd().EndsWith ':')))
                    $"{name}: its reason"

            let! stream = client.Send [ ":authority", "a.example"; ":path", "/" ]
            let! status = client.Status stream
            Expect.equal status 202 "a good one"
        }

        testCaseTask "a step of the pipeline that throws is answered 500, counted and logged"
        <| fun () -> task {
            let answered = ResizeArray<int>()
            let failed = ResizeArray<string>()

            let services = {
                BarePipeline.services Tracing.Off with
                    Hosts = fun () -> failwith "a defect"
                    Answered = fun answer -> answered.Add answer.Status
                    Failed = fun error -> failed.Add error.Message
            }

            let ctx = BarePipeline.request "GET"
            let! _ = DuplicateHandler.create services earlyReturn ctx
            Expect.equal (ctx.Response.StatusCode, List.ofSeq answered) (500, [ 500 ]) "answered and counted"
            Expect.equal (List.ofSeq failed) [ "a defect" ] "logged"
            Expect.equal (string ctx.Response.Headers.Connection) "close" "nothing more is expected of it"
        }

        testCaseTask "a connection that nothing comes on any more is closed after IDLE_TIMEOUT"
        <| fun () -> task {
            use target = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(
                    Manifests.route "a.example" [ target.Port ],
                    fun settings -> {
                        settings with
                            IdleTimeout = TimeSpan.FromSeconds 1.0
                    }
                )

            use! client = TestClient.Connect proxy.Port
            do! client.Send $"GET / HTTP/1.1\r\n{host}\r\n"
            let! answer = client.Answer()
            Expect.equal (answer.Values "Connection") [] "it is kept"
            let! isClosed = client.IsClosed()
            Expect.isTrue isClosed "and closed by the server"
        }

        testCaseTask "from the first moment of the drain on answers end their connections"
        <| fun () -> task {
            use target = TestTarget.ok ()
            let clock = TestClock()
            let delay = TimeSpan.FromSeconds 7.0

            use! proxy =
                TestProxy.Start(
                    Manifests.route "a.example" [ target.Port ],
                    (fun settings -> { settings with ShutdownDelay = delay }),
                    clock
                )

            use! idle = TestClient.Connect proxy.Port
            use! silent = TestClient.Connect proxy.Port
            let request = $"POST / HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nhi"
            do! idle.Send request
            let! before = idle.Answer()
            Expect.equal (TestClient.status before, before.Values "Connection") (202, []) "it is kept"
            do! silent.Send request
            let! _ = silent.Answer()
            let stopping = proxy.Stop()
            do! clock.TimerStarted delay
            do! idle.Send request
            let! after = idle.Answer()
            Expect.equal (TestClient.status after) 202 "served during the drain"
            Expect.equal (after.Values "Connection") [ "close" ] "for the last time here"
            let! isClosed = idle.IsClosed()
            Expect.isTrue isClosed "closed"
            clock.Advance delay
            let! totals = stopping |> Waiting.within "the stop"
            Expect.equal totals.Accepted 3L "all accepted"
            let! isClosed = silent.IsClosed()
            Expect.isTrue isClosed "one that was idle all the time is closed at the end of the drain"
        }
    ]
