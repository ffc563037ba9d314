/// What a connection does whose requests are plain, and what it leaves to the server: over real sockets, on every transport.
module K8sReq.Proxy.Tests.PlainConnectionTests

open System
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private withProxy (loops: int) change (test: TestProxy -> TestTarget -> Task<unit>) : Task<unit> = task {
    use target = TestTarget.ok ()

    use! proxy =
        TestProxy.Start(
            Manifests.route "a.example" [ target.Port ],
            (fun settings ->
                change {
                    settings with
                        EventLoops = Some loops
                })
        )

    do! test proxy target
}

let private post (path: string) (body: string) =
    $"POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n{body}"

let private accepts (client: TestClient) = task {
    let! answer = client.Answer()
    Expect.equal (TestClient.status answer) 202 "accepted"
}

let private pathOf (message: HttpMessage.Message) = message.Start.Split(' ')[1]

let private metrics (proxy: TestProxy) : Task<string list> = task {
    let! page =
        TestClient.roundTrip proxy.MetricsPort "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    return List.ofArray ((Encoding.UTF8.GetString page.Body).Split '\n')
}

let private untilMetrics what (proxy: TestProxy) (isSo: string list -> bool) =
    Waiting.until what (fun () -> task {
        let! lines = metrics proxy
        return isSo lines
    })

let private holdsNoMemory = List.contains "k8sreq_buffer_bytes 0"

let private memoryIsGivenBack (proxy: TestProxy) = task {
    do! proxy.Settled()
    do! untilMetrics "the memory to be given back" proxy holdsNoMemory
}

let private onTransport (name: string) (loops: int) =
    let test title change (run: TestProxy -> TestTarget -> Task<unit>) =
        testCaseTask title <| fun () -> withProxy loops change run

    testList name [
        test "requests that come in one piece are answered in their order, and each is copied" id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send(String.concat "" [ for n in 1..20 -> post $"/{n}" (String('x', n * 40)) ])

            for _ in 1..20 do
                do! accepts client

            let! copies = target.Take 20

            Expect.equal
                (copies |> List.map (fun copy -> pathOf copy, copy.Body.Length) |> List.sort)
                (List.sort [ for n in 1..20 -> $"/{n}", n * 40 ])
                "all of them"

            do! memoryIsGivenBack proxy
        }

        test
            "bodies of many sizes that come one behind the other, in one piece, are copied to their last byte"
            id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            let random = Random 11

            let bodies = [
                // The first is received by two calls, and what comes behind it by the second of them, if it is there.
                for size in [ 65_536; 3; 16_300; 16_384; 20_000; 65_537; 17_000; 0; 200_000; 33_000; 1 ] ->
                    let body = Array.zeroCreate<byte> size
                    random.NextBytes body
                    body
            ]

            let requests =
                bodies
                |> List.mapi (fun n body ->
                    Array.append
                        (Encoding.Latin1.GetBytes
                            $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n")
                        body)
                |> Array.concat

            do! client.SendBytes requests

            for _ in bodies do
                do! accepts client

            let! copies = target.Take bodies.Length

            Expect.equal
                (copies |> List.map (fun copy -> pathOf copy, copy.Body) |> List.sortBy fst)
                (bodies |> List.mapi (fun n body -> $"/{n}", body) |> List.sortBy fst)
                "all of them, byte by byte"

            do! memoryIsGivenBack proxy
        }

        test "a request whose bytes come one by one is copied as it is" id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port

            for byte in Encoding.Latin1.GetBytes(post "/slow" "abc") do
                do! client.SendBytes [| byte |]

            do! accepts client
            let! copy = target.Next()
            Expect.equal (pathOf copy, copy.Body) ("/slow", "abc"B) "whole"
            do! memoryIsGivenBack proxy
        }

        test
            "a body that comes in many pieces, with the next request behind it, is copied to its last byte"
            id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            let random = Random 7
            let body = Array.zeroCreate<byte> 1_000_000
            random.NextBytes body

            do!
                client.Send
                    $"POST /large HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n"

            let mutable sent = 0

            while sent < body.Length do
                let count = min (body.Length - sent) (1 + random.Next 90_000)
                do! client.SendBytes body[sent .. sent + count - 1]
                sent <- sent + count

            do! client.Send(post "/next" "z")
            do! accepts client
            do! accepts client
            let! copies = target.Take 2

            Expect.equal
                (copies |> List.map (fun copy -> pathOf copy, copy.Body) |> List.sort)
                [ "/large", body; "/next", "z"B ]
                "both, byte by byte"

            do! memoryIsGivenBack proxy
        }

        test "plain requests and others take turns on one connection" id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send(post "/1" "a")
            do! accepts client

            do!
                client.Send
                    "POST /2 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n"

            do! accepts client
            do! client.Send(post "/3" "c")
            do! accepts client
            do! client.Send "GET /4 HTTP/1.1\r\nHost: nobody.example\r\n\r\n"
            let! refused = client.Answer()
            Expect.equal (TestClient.status refused) 503 "no route"
            do! client.Send(post "/5" "d")
            do! accepts client
            let! copies = target.Take 4

            Expect.equal
                (copies |> List.map (fun copy -> pathOf copy, copy.Body) |> List.sort)
                [ "/1", "a"B; "/2", "b"B; "/3", "c"B; "/5", "d"B ]
                "all but the refused one"

            do! memoryIsGivenBack proxy
        }

        test "a client that closes its side after the request has its answer" id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send(post "/" "abc")
            client.Finish()
            do! accepts client
            let! isClosed = client.IsClosed()
            Expect.isTrue isClosed "and then the end"
            let! copy = target.Next()
            Expect.equal copy.Body "abc"B "copied"
        }

        test "a client that asks for the end has it after the answer" id
        <| fun proxy _ -> task {
            use! client = TestClient.Connect proxy.Port

            do!
                client.Send
                    "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"

            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) 202 "accepted"

            Expect.exists
                answer.Fields
                (fun (name, value) -> name.ToLowerInvariant() = "connection" && value = "close")
                "said"

            let! isClosed = client.IsClosed()
            Expect.isTrue isClosed "closed"
        }

        test "a client that goes away within a body leaves nothing" id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\nabc"
            do! untilMetrics "its head to be read" proxy (holdsNoMemory >> not)
            client.Reset()

            // The server may take a reset for the end of the body.
            do!
                untilMetrics "the client's absence" proxy (fun lines ->
                    List.contains "k8sreq_requests_total{code=\"499\",reason=\"client_gone\"} 1" lines
                    || List.contains "k8sreq_requests_total{code=\"400\",reason=\"bad_body\"} 1" lines)

            Expect.equal (proxy.Totals.Accepted, target.Connections) (0L, 0) "nothing was copied"
            do! memoryIsGivenBack proxy
        }

        test "clients that reset their connections leave nothing, whatever they have sent and not read" id
        <| fun proxy target -> task {
            let whole = post "/whole" (String('x', 400))

            for length in 0..9 .. whole.Length - 1 do
                use! client = TestClient.Connect proxy.Port
                do! client.Send whole[.. length - 1]
                client.Reset()

            // Answers that nobody reads, and those of requests that are under way.
            for count in 1..10 do
                use! client = TestClient.Connect proxy.Port
                do! client.Send(String.replicate count whole)

                if count % 2 = 0 then
                    do! accepts client

                client.Reset()

            use! client = TestClient.Connect proxy.Port
            do! client.Send(post "/last" "z")
            do! accepts client
            let mutable last = ""

            while last <> "/last" do
                let! copy = target.Next()
                last <- pathOf copy

            do! memoryIsGivenBack proxy
        }

        test "a client that closes its side within a body is told so" id
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\nabc"
            client.Finish()

            match! client.TryAnswer() with
            | Some answer -> Expect.equal (TestClient.status answer) 400 "cut short"
            // The server may close the connection over its own answer.
            | None -> Expect.equal loops 0 "the loops do not"

            Expect.equal (proxy.Totals.Accepted, target.Connections) (0L, 0) "nothing was copied"
            do! memoryIsGivenBack proxy
        }

        test "a body that does not come in time is refused, and the connection ends" (fun settings -> {
            settings with
                ReadTimeout = TimeSpan.FromMilliseconds 100.0
        })
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\nabc"
            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) 408 "too slow"
            let! isClosed = client.IsClosed()
            Expect.isTrue isClosed "closed"
            Expect.equal (proxy.Totals.Accepted, target.Connections) (0L, 0) "nothing was copied"
            do! memoryIsGivenBack proxy
        }

        test
            "a body that the memory does not reach for is refused, and the memory is given back"
            (fun settings -> { settings with BufferBytes = 400_000L })
        <| fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1500000\r\n\r\n"

            // It is refused before all of it has been sent.
            try
                do! client.SendBytes(Array.zeroCreate 1_500_000)
            with :? IO.IOException ->
                ()

            let! answer = client.TryAnswer()

            match answer with
            | Some answer -> Expect.equal (TestClient.status answer) 503 "no room"
            // The client was still sending: the reset may overtake the answer.
            | None -> ()

            do!
                untilMetrics
                    "the refusal"
                    proxy
                    (List.contains "k8sreq_requests_total{code=\"503\",reason=\"no_room\"} 1")

            Expect.equal (proxy.Totals.Accepted, target.Connections) (0L, 0) "nothing was copied"
            do! memoryIsGivenBack proxy
        }

        test "connections that wait are closed when the proxy stops, and a request under way is answered" id
        <| fun proxy target -> task {
            use! idle = TestClient.Connect proxy.Port
            do! idle.Send(post "/1" "a")
            do! accepts idle
            do! memoryIsGivenBack proxy
            use! busy = TestClient.Connect proxy.Port
            do! busy.Send "POST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n"
            do! untilMetrics "its head to be read" proxy (holdsNoMemory >> not)
            let stopped = proxy.Stop()
            let! isClosed = idle.IsClosed()
            Expect.isTrue isClosed "closed"
            do! busy.Send "abc"
            let! answer = busy.Answer()
            Expect.equal (TestClient.status answer) 202 "answered"
            let! totals = stopped |> Waiting.within "the stop"
            Expect.equal totals.Delivered 2L "both were copied"
            let! copies = target.Take 2
            Expect.contains (copies |> List.map pathOf) "/2" "the last one, too"
        }

        test "more connections than there may be are closed" (fun settings -> {
            settings with
                MaxConnections = Some 2
        })
        <| fun proxy _ -> task {
            use! one = TestClient.Connect proxy.Port
            do! one.Send(post "/1" "a")
            do! accepts one
            use! two = TestClient.Connect proxy.Port
            do! two.Send(post "/2" "a")
            do! accepts two
            use! three = TestClient.Connect proxy.Port
            let! isClosed = three.IsClosed()
            Expect.isTrue isClosed "one too many"
        }
    ]

// Only where the loop reads heads itself: the server gives known headers its own spelling.
let private asSent =
    testCaseTask "names keep their case, and lines their order"
    <| fun () ->
        withProxy 1 id (fun proxy target -> task {
            use! client = TestClient.Connect proxy.Port

            do!
                client.Send
                    "POST / HTTP/1.1\r\nx-b: 1\r\nhOST: a.example\r\ncontent-TYPE: text/plain\r\nX-A: 2\r\nx-b: 3\r\nContent-Length: 1\r\n\r\na"

            do! accepts client
            let! copy = target.Next()

            Expect.equal
                (copy.Fields
                 |> List.filter (fun (name, _) ->
                     name.ToLowerInvariant().StartsWith "x-" || name.StartsWith "content-T"))
                [ "x-b", "1"; "content-TYPE", "text/plain"; "X-A", "2"; "x-b", "3" ]
                "as they were sent"
        })

let tests =
    testList "PlainConnection" [
        onTransport "over the runtime's sockets" 0

        if Transport.hasLoops then
            onTransport "over one event loop" 1
            onTransport "over two event loops" 2
            asSent
    ]
