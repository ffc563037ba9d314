/// Every row of what a request is answered, over real sockets; each case looks at what the targets got, too.
module K8sReq.Proxy.Tests.ProxyRequestTests

open System
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

let private host = "Host: a.example\r\n"

/// A proxy with one target of the host a.example.
let private withProxy change clock (test: TestProxy -> TestTarget -> Task<unit>) = task {
    use target = TestTarget.ok ()

    use! proxy =
        TestProxy.Start(Manifests.route "a.example" [ target.Port ], change, clock)

    do! test proxy target
}

let private simply test = withProxy id TimeProvider.System test

/// Nothing was copied. A copy would be accepted before the answer, so none can come after it.
let private expectNoCopy (proxy: TestProxy) (target: TestTarget) =
    Expect.equal proxy.Totals.Accepted 0L "no copy was accepted"
    Expect.equal target.Connections 0 "the target has seen nobody"

let private expectRefusal status (closes: bool) request name =
    testCaseTask name
    <| fun () -> task {
        do!
            simply (fun proxy target -> task {
                use! client = TestClient.Connect proxy.Port
                do! client.Send request
                let! answer = client.Answer()
                Expect.equal (TestClient.status answer) status "the answer"

                if closes then
                    let! isClosed = client.IsClosed()
                    Expect.isTrue isClosed "the connection ends"

                expectNoCopy proxy target
            })
    }

let private limitOf bytes (settings: Settings) = {
    settings with
        BodySizeLimit = Some bytes
}

let tests =
    testList "a request" [
        testCaseTask
            "for a host with a target is answered 202 with an empty body, and nothing of the target's answer"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    let! answer =
                        TestClient.roundTrip
                            proxy.Port
                            $"POST / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc"

                    Expect.equal answer.Start "HTTP/1.1 202 Accepted" "accepted"
                    Expect.equal (answer.Values "Content-Length") [ "0" ] "empty"

                    Expect.equal
                        (answer.Fields |> List.map fst |> List.sort)
                        [ "Content-Length"; "Date" ]
                        "nothing else"

                    let! copy = target.Next()
                    Expect.equal copy.Text "abc" "copied"
                })
        }

        testCaseTask "is answered before any target has answered"
        <| fun () -> task {
            use target = TestTarget.silent ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
            let! answer = TestClient.roundTrip proxy.Port $"GET / HTTP/1.1\r\n{host}\r\n"
            Expect.equal (TestClient.status answer) 202 "answered while the target is silent"
            let! _ = target.Next()
            Expect.equal proxy.Totals.Pending 1L "the copy is under way"
            // Let the copy end, so that the proxy has nothing to wait for.
            (target :> IDisposable).Dispose()
            do! proxy.Settled()
        }

        testCaseTask "for a host without a target is answered 503 with a line of text"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    let! answer =
                        TestClient.roundTrip proxy.Port "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n"

                    Expect.equal (TestClient.status answer) 503 "refused"
                    Expect.equal answer.Text "No target is configured for this host.\n" "a line"
                    expectNoCopy proxy target
                })
        }

        testCaseTask "for a host without a target is answered before its body is read"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port
                    // Were the body wanted, 100 Continue would come first; it is never sent.
                    do!
                        client.Send
                            "POST / HTTP/1.1\r\nHost: b.example\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"

                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 503 "at once"
                    expectNoCopy proxy target
                })
        }

        $"GET / HTTP/1.1\r\n{host}Via: 1.0 other, 1.1 k8sreq\r\n\r\n"
        |> expectRefusal 508 false
        <| "that has passed this proxy is answered 508"

        testCaseTask "is a loop by the name that the proxy was given"
        <| fun () -> task {
            do!
                withProxy
                    (fun settings -> { settings with ViaName = "edge" })
                    TimeProvider.System
                    (fun proxy target -> task {
                        let withVia name =
                            $"GET / HTTP/1.1\r\n{host}Via: 1.1 {name}\r\n\r\n"

                        let! loop = TestClient.roundTrip proxy.Port (withVia "edge")
                        Expect.equal (TestClient.status loop) 508 "its own name"
                        let! other = TestClient.roundTrip proxy.Port (withVia "k8sreq")
                        Expect.equal (TestClient.status other) 202 "another's"
                        let! copy = target.Next()
                        Expect.equal (copy.Values "Via") [ "1.1 k8sreq"; "1.1 edge" ] "appended"
                    })
        }

        testCaseTask "of a copy that comes back is answered 508: a loop ends after one round"
        <| fun () -> task {
            use! inner = TestProxy.Start(Manifests.service "none" 1)
            // The inner proxy's one target is itself.
            inner.Folder.Write("all.yaml", Manifests.route "a.example" [ inner.Port ])

            do!
                Waiting.until "the route" (fun () -> task {
                    let! answer = TestClient.roundTrip inner.Port $"GET / HTTP/1.1\r\n{host}\r\n"
                    return TestClient.status answer = 202
                })

            do! inner.Settled()
            let totals = inner.Totals
            Expect.equal (totals.Accepted, totals.Failed) (1L, 1L) "one copy, which was refused"
            Expect.exists inner.Log (fun line -> line.Contains "answered 508") "and the log says why"
        }

        testCaseTask "with a declared body over the limit is answered 413 before it is read"
        <| fun () -> task {
            do!
                withProxy (limitOf 10L) TimeProvider.System (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port

                    do!
                        client.Send
                            $"POST / HTTP/1.1\r\n{host}Content-Length: 11\r\nExpect: 100-continue\r\n\r\n"

                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 413 "without 100 Continue"
                    expectNoCopy proxy target
                })
        }

        testCaseTask "with a chunked body over the limit is answered 413, and nothing is cut and sent"
        <| fun () -> task {
            do!
                withProxy (limitOf 10L) TimeProvider.System (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port

                    do!
                        client.Send
                            $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n"

                    do! client.Send "5\r\nghijk\r\n0\r\n\r\n"
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 413 "refused"
                    expectNoCopy proxy target
                })
        }

        testCaseTask "with a body of exactly the limit is accepted, declared or chunked"
        <| fun () -> task {
            do!
                withProxy (limitOf 10L) TimeProvider.System (fun proxy target -> task {
                    for request in
                        [
                            $"POST / HTTP/1.1\r\n{host}Content-Length: 10\r\n\r\n0123456789"
                            $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
                        ] do
                        let! answer = TestClient.roundTrip proxy.Port request
                        Expect.equal (TestClient.status answer) 202 "accepted"
                        let! copy = target.Next()
                        Expect.equal copy.Text "0123456789" "whole"
                })
        }

        testCaseTask "of any size is accepted without a limit"
        <| fun () -> task {
            do!
                withProxy
                    (fun settings -> { settings with BodySizeLimit = None })
                    TimeProvider.System
                    (fun proxy target -> task {
                        let body = Array.init 5_000_000 (fun i -> byte (i / 3))
                        use! client = TestClient.Connect proxy.Port
                        do! client.Send $"POST / HTTP/1.1\r\n{host}Content-Length: {body.Length}\r\n\r\n"
                        do! client.SendBytes body
                        let! answer = client.Answer()
                        Expect.equal (TestClient.status answer) 202 "accepted"
                        let! copy = target.Next()
                        Expect.isTrue (copy.Body = body) "the same bytes"
                    })
        }

        testCaseTask "whose body ends early is not acknowledged"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    for request in
                        [
                            $"POST / HTTP/1.1\r\n{host}Content-Length: 10\r\n\r\nabc"
                            $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\na\r\nabc"
                            $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
                        ] do
                        use! client = TestClient.Connect proxy.Port
                        do! client.Send request
                        client.Finish()

                        match! client.TryAnswer() with
                        | Some answer -> Expect.equal (TestClient.status answer) 400 "refused"
                        | None -> ()

                    expectNoCopy proxy target
                })
        }

        testCaseTask "whose client goes away half-way is not copied"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    let! client = TestClient.Connect proxy.Port

                    do!
                        client.Send
                            $"POST / HTTP/1.1\r\n{host}Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
                    // The proxy has begun to read the body.
                    let! go = client.Answer()
                    Expect.equal (TestClient.status go) 100 "it wants the body"
                    do! client.Send "abc"
                    client.Reset()
                    // The next request shows that the one before is over with.
                    let! answer = TestClient.roundTrip proxy.Port $"GET /next HTTP/1.1\r\n{host}\r\n"
                    Expect.equal (TestClient.status answer) 202 "still serving"
                    let! copy = target.Next()
                    Expect.stringStarts copy.Start "GET /next " "the only copy"
                    do! proxy.Settled()
                    Expect.equal proxy.Totals.Accepted 1L "and no other"
                })
        }

        testCaseTask "whose body takes longer than the read timeout is answered 408"
        <| fun () -> task {
            let clock = TestClock()
            let timeout = TimeSpan.FromSeconds 7.0

            do!
                withProxy (fun settings -> { settings with ReadTimeout = timeout }) clock (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port
                    do! client.Send $"POST / HTTP/1.1\r\n{host}Content-Length: 10\r\n\r\nabc"
                    do! clock.TimerStarted timeout
                    clock.Advance(timeout - TimeSpan.FromSeconds 1.0)
                    do! client.Send "def"
                    clock.Advance(TimeSpan.FromSeconds 1.0)
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 408 "too slow, whatever came meanwhile"
                    let! isClosed = client.IsClosed()
                    Expect.isTrue isClosed "the connection ends"
                    expectNoCopy proxy target
                })
        }

        testCaseTask "whose body is slow but within the read timeout is accepted"
        <| fun () -> task {
            let clock = TestClock()
            let timeout = TimeSpan.FromSeconds 7.0

            do!
                withProxy (fun settings -> { settings with ReadTimeout = timeout }) clock (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port
                    do! client.Send $"POST / HTTP/1.1\r\n{host}Content-Length: 6\r\n\r\nabc"
                    do! clock.TimerStarted timeout
                    clock.Advance(timeout - TimeSpan.FromSeconds 1.0)
                    do! client.Send "def"
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 "accepted"
                    let! copy = target.Next()
                    Expect.equal copy.Text "abcdef" "whole"
                })
        }

        $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"
        |> expectRefusal 400 true
        <| "with a chunk size that is no number is answered 400"

        $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"
        |> expectRefusal 400 true
        <| "with a chunk longer than its size is answered 400"

        $"POST / HTTP/1.1\r\n{host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n{host}\r\n"
        |> expectRefusal 400 true
        <| "with both Content-Length and Transfer-Encoding is refused, and what follows is no request"

        $"POST / HTTP/1.1\r\n{host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
        |> expectRefusal 400 true
        <| "with two lengths is answered 400"

        $"POST / HTTP/1.1\r\n{host}Content-Length: -3\r\n\r\nabc"
        |> expectRefusal 400 true
        <| "with a negative length is answered 400"

        $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
        |> expectRefusal 501 true
        <| "with a transfer coding beside chunked is answered 501"

        $"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"
        |> expectRefusal 400 true
        <| "whose last transfer coding is not chunked is answered 400"

        $"GET / HTTP/1.1\r\n{host}Host: b.example\r\n\r\n" |> expectRefusal 400 true
        <| "with two Host fields is answered 400"

        "GET / HTTP/1.1\r\n\r\n" |> expectRefusal 400 true
        <| "without a Host field is answered 400"

        $"GET /\r\n{host}\r\n" |> expectRefusal 400 true
        <| "without a version is answered 400"

        $"GET / HTTP/1.1\r\n{host}X-A : 1\r\n\r\n" |> expectRefusal 400 true
        <| "with a space before a colon is answered 400"

        $"GET / HTTP/1.1\r\n{host}X-A: 1\r\n folded\r\n\r\n" |> expectRefusal 400 true
        <| "with a folded field is answered 400"

        $"GET /fHTTP/1.1\r\n{host}\r\n" |> expectRefusal 400 true
        <| "without a space before its version is answered 400"

        $"GET /a b HTTP/1.1\r\n{host}\r\n" |> expectRefusal 400 true
        <| "with a space in its target is answered 400"

        $"GET /a#b HTTP/1.1\r\n{host}\r\n" |> expectRefusal 400 true
        <| "with a fragment in its target is answered 400"

        for code in [ 1; 8; 0x0b; 0x0c; 0x0e; 0x1f; 0x7f ] do
            $"GET / HTTP/1.1\r\n{host}X: a{char code}b\r\n\r\n" |> expectRefusal 400 true
            <| $"with the control character {code} in a field's value is answered 400"

        $"G\u00c9T / HTTP/1.1\r\n{host}\r\n" |> expectRefusal 400 true
        <| "with a byte above 127 in its method is answered 400"

        $"GET http://caf\u00e9.example/ HTTP/1.1\r\n{host}\r\n"
        |> expectRefusal 400 true
        <| "with a byte above 127 in its target's host is answered 400"

        for sent, copied in
            [
                "/x?msg=Gr\u00c3\u00bc\u00c3\u009fe", "/x?msg=Gr\u00c3\u00bc\u00c3\u009fe"
                // No UTF-8.
                "/caf\u00e9/\u0080\u00ff", "/caf\u00e9/\u0080\u00ff"
                "/^/\u00e9^", "/^/\u00e9^"
                "/^/%c3%a9", "/^/%c3%a9"
                "http://a.example/\u00e9", "/\u00e9"
                "HTTP://a.example/x", "/x"
                "Http://a.example:80?X=\u00e9", "/?X=\u00e9"
                "/x?u=HTTP://b.example/", "/x?u=HTTP://b.example/"
            ] do
            testCaseTask $"for {sent} is copied to the byte"
            <| fun () -> task {
                do!
                    simply (fun proxy target -> task {
                        let! answer =
                            TestClient.roundTrip
                                proxy.Port
                                $"POST {sent} HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nhi"

                        Expect.equal (TestClient.status answer) 202 "accepted"
                        let! copy = target.Next()

                        Expect.equal
                            (copy.Start, copy.Text)
                            ($"POST {copied} HTTP/1.1", "hi")
                            "as it was sent"
                    })
            }

        for size in [ 1; 2; 3; 7; 61; 4096 ] do
            testCaseTask
                $"with bytes above 127 is told from the bodies before it, when {size} bytes come at a time"
            <| fun () -> task {
                let line name =
                    $"POST /{name}/\u00e9\u00ff HTTP/1.1\r\n"

                // What looks like a request within a body is none.
                let body = $"{line 0}x\u00e9\r\n"

                let requests = [
                    $"{line 1}{host}\r\n"
                    $"{line 2}{host}Content-Length: {body.Length}\r\n\r\n{body}"
                    $"{line 3}{host}Content-Length: 0\r\n\r\n"
                    $"{line 4}{host}Transfer-Encoding: chunked\r\n\r\n{body.Length:x}\r\n{body}\r\n0\r\nT: \u00e9\r\n\r\n"
                    $"{line 5}Host: unknown.example\r\nContent-Length: {body.Length}\r\n\r\n{body}"
                    $"{line 6}Host: unknown.example\r\n\r\n"
                    $"{line 7}{host}Via: 1.1 k8sreq\r\nTransfer-Encoding: chunked\r\n\r\n{body.Length:x}\r\n{body}\r\n0\r\n\r\n"
                    $"{line 8}{host}X: \u00e9\r\nContent-Length: {body.Length}\r\n\r\n{body}"
                ]

                do!
                    simply (fun proxy target -> task {
                        use! client = TestClient.Connect proxy.Port
                        let all = Encoding.Latin1.GetBytes(String.concat "" requests)

                        for piece in Array.chunkBySize size all do
                            do! client.SendBytes piece

                        let statuses = ResizeArray()

                        for _ in requests do
                            let! answer = client.Answer()
                            statuses.Add(TestClient.status answer)

                        Expect.equal
                            (List.ofSeq statuses)
                            [ 202; 202; 202; 202; 503; 503; 508; 202 ]
                            "each has its answer"

                        let copies = ResizeArray()

                        for _ in 1..5 do
                            let! copy = target.Next()
                            copies.Add(copy.Start, copy.Body |> Encoding.Latin1.GetString)

                        Expect.equal
                            (copies |> Seq.sort |> List.ofSeq)
                            [
                                (line 1).TrimEnd(), ""
                                (line 2).TrimEnd(), body
                                (line 3).TrimEnd(), ""
                                (line 4).TrimEnd(), body
                                (line 8).TrimEnd(), body
                            ]
                            "each as it was sent"
                    })
            }

        $"GET / HTTP/1.1\r\n{host}X(A: 1\r\n\r\n" |> expectRefusal 400 true
        <| "with a field name that is none is answered 400"

        $"POST / HTTP/1.1\r\n{host}Content-Length: +3\r\n\r\nabc"
        |> expectRefusal 400 true
        <| "with a length that has a sign is answered 400"

        $"POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        |> expectRefusal 400 true
        <| "in HTTP/1.0 with a transfer coding is answered 400"

        testCaseTask "whose client closes its side after it is answered all the same"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    for n in 1..50 do
                        use! client = TestClient.Connect proxy.Port
                        do! client.Send $"POST /{n} HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc"
                        client.Finish()
                        let! answer = client.Answer()
                        Expect.equal (TestClient.status answer) 202 "accepted"
                        let! isClosed = client.IsClosed()
                        Expect.isTrue isClosed "and the connection ends"

                    let! _ = target.Take 50
                    ()
                })
        }

        testCaseTask "over HTTP/2 with what HTTP/1.1 could not say is answered 400, and nothing is copied"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    let path value = [ ":path", value ]
                    let field name value = [ ":path", "/"; name, value ]

                    for headers in
                        [
                            path "/x HTTP/1.1"
                            path "/x\ty"
                            path "/\u0001"
                            path "/\u007f"
                            field "transfer-encoding " "chunked"
                            field "content-length " "0"
                            field "connection:close, x" "v"
                        ] do
                        let! block = Http2Client.get proxy.Port (":authority", "a.example") headers
                        Expect.equal block[0] Http2Client.status400 $"{headers}"

                    expectNoCopy proxy target
                    let! block = Http2Client.get proxy.Port (":authority", "a.example") (path "/good")
                    Expect.notEqual block[0] Http2Client.status400 "a good one"
                    let! copy = target.Next()
                    Expect.equal copy.Start "GET /good HTTP/1.1" "is copied"

                    let! block =
                        Http2Client.get proxy.Port (":authority", "a.example") (path "/caf\u00c3\u00a9")

                    Expect.notEqual block[0] Http2Client.status400 "bytes above 127 are taken"
                    let! copy = target.Next()
                    Expect.equal copy.Start "GET /caf\u00c3\u00a9 HTTP/1.1" "and are copied"
                })
        }

        for start, host in
            [
                "OPTIONS * HTTP/1.1", "a.example"
                "post /x HTTP/1.1", "a.example"
                "GET /x HTTP/1.1", "a.example:65535"
                "POST /x HTTP/1.1", "A.example.:0080"
            ] do
            testCaseTask $"\"{start}\" for {host}, without a body, is copied as it came"
            <| fun () -> task {
                do!
                    simply (fun proxy target -> task {
                        use! client = TestClient.Connect proxy.Port
                        do! client.Send $"{start}\r\nHost: {host}\r\nX-A: 1\r\n\r\n"
                        let! answer = client.Answer()
                        Expect.equal (TestClient.status answer) 202 "accepted"
                        let! copy = target.Next()
                        Expect.equal copy.Start start "the first line"

                        Expect.equal
                            (List.sort copy.Fields)
                            [ "Host", host; "Via", "1.1 k8sreq"; "X-A", "1" ]
                            "and the fields, to which nothing but Via was added"
                    })
            }

        testCaseTask "with an Expect field is told to go on, and then accepted"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port

                    do!
                        client.Send
                            $"POST / HTTP/1.1\r\n{host}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"

                    let! go = client.Answer()
                    Expect.equal (TestClient.status go) 100 "go on"
                    do! client.Send "abc"
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 "accepted"
                    let! copy = target.Next()
                    Expect.equal copy.Text "abc" "copied"
                })
        }

        testCaseTask
            "after another on the same connection, even sent at once, is answered in order and copied once"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    use! client = TestClient.Connect proxy.Port

                    do!
                        client.Send(
                            String.concat "" [
                                for n in 1..20 -> $"POST /{n} HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc"
                            ]
                        )

                    for _ in 1..20 do
                        let! answer = client.Answer()
                        Expect.equal (TestClient.status answer) 202 "accepted"

                    let! copies = target.Take 20
                    let paths = copies |> List.map (fun copy -> copy.Start.Split(' ')[1]) |> set
                    Expect.equal paths (set [ for n in 1..20 -> $"/{n}" ]) "each once"
                    do! proxy.Settled()
                    Expect.equal target.Waiting 0 "and none twice"
                })
        }

        testCaseTask "in HTTP/1.0 is accepted"
        <| fun () -> task {
            do!
                simply (fun proxy target -> task {
                    let! answer = TestClient.roundTrip proxy.Port $"GET /old HTTP/1.0\r\n{host}\r\n"
                    Expect.equal (TestClient.status answer) 202 "accepted"
                    let! copy = target.Next()
                    Expect.equal copy.Start "GET /old HTTP/1.1" "copied"
                })
        }
    ]
