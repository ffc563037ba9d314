/// Every row of what a copy is, held against the bytes that targets got.
module K8sReq.Proxy.Tests.ProxyCopyTests

open System
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

/// The first copies of this request at two targets.
let private copiesOf (request: byte[]) : Task<Message list * byte[] list> = task {
    use first = TestTarget.ok ()
    use second = TestTarget.ok ()
    use! proxy = TestProxy.Start(Manifests.route "a.example" [ first.Port; second.Port ])
    use! client = TestClient.Connect proxy.Port
    do! client.SendBytes request
    let! answer = client.Answer()
    Expect.equal (TestClient.status answer) 202 "accepted"
    let! one = first.Next()
    let! two = second.Next()
    return [ one; two ], first.Bytes @ second.Bytes
}

let private copyOf (request: string) = task {
    let! copies, _ = copiesOf (Encoding.Latin1.GetBytes request)
    return copies.Head
}

/// The copy of this head and body has exactly these lines, in any order across names, and this body.
let private expectLines (request: string) (start: string) (fields: (string * string) list) (body: string) =
    task {
        let! copies, _ = copiesOf (Encoding.Latin1.GetBytes request)

        for copy in copies do
            Expect.equal copy.Start start "the request line"
            Expect.equal (List.sort copy.Fields) (List.sort fields) "these fields, and no others"
            Expect.equal copy.Text body "the body"

            for name, _ in fields do
                let expected =
                    fields
                    |> List.filter (fun (field, _) -> field.Equals(name, StringComparison.OrdinalIgnoreCase))
                    |> List.map snd

                Expect.equal (copy.Values name) expected $"the values of {name} in their order"
    }

let private target path name =
    testCaseTask name
    <| fun () -> task {
        let! copy = copyOf $"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"
        Expect.equal copy.Start $"GET {path} HTTP/1.1" "byte for byte"
    }

let private methodSurvives method =
    testCaseTask $"the method {method} survives"
    <| fun () -> task {
        let! copy =
            copyOf $"{method} /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi"

        Expect.equal (copy.Start, copy.Text) ($"{method} /x HTTP/1.1", "hi") "with its body"
    }

let private via = "Via", "1.1 k8sreq"

let tests =
    testList "a copy" [
        testCaseTask "is the same for every target, to the byte"
        <| fun () -> task {
            let! _, bytes =
                copiesOf "POST /x?y HTTP/1.1\r\nHost: a.example\r\nX-B: 1\r\nContent-Length: 5\r\n\r\nhello"B

            Expect.equal bytes.Length 2 "two targets"
            Expect.isTrue (bytes[0] = bytes[1]) "the same"
        }

        target "/a%2Fb/../c%20d;x=1?q=%41" "has the request target byte for byte: escapes, dots and all"
        target "/./a//b/%2e%2e/%zz?" "has a request target that is not normal as it came"
        target "/?a=b?c=d&e=http://x/|{}\"<>^`" "has characters that should have been escaped as they came"
        target $"/{String('a', 8000)}?{String('b', 8000)}" "has a long request target"

        testCaseTask "of an absolute request target has its path and query alone"
        <| fun () -> task {
            let! copy =
                copyOf "GET http://a.example/x%2Fy/../z?q HTTP/1.1\r\nHost: a.example\r\n\r\n"

            Expect.equal copy.Start "GET /x%2Fy/../z?q HTTP/1.1" "as a server is asked"
        }

        yield!
            [ "GET"; "POST"; "PUT"; "PATCH"; "DELETE"; "PURGE"; "M-SEARCH"; "REPORT" ]
            |> List.map methodSurvives

        testCaseTask "has the client's fields as they came, and Via"
        <| fun () -> task {
            do!
                expectLines
                    ("POST /hook HTTP/1.1\r\nHost: A.Example:8080\r\nUser-Agent: GitHub-Hookshot/1\r\n"
                     + "Accept: */*\r\nContent-Type: application/json; charset=utf-8\r\nContent-Encoding: identity\r\n"
                     + "X-Hub-Signature-256: sha256=abc\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Basic eDp5\r\n"
                     + "Cookie: a=b; c=d\r\nX-Empty:\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nExpires: nonsense\r\n"
                     + "Referer: ://not a uri\r\nIf-None-Match: \"x\", W/\"y\"\r\nContent-Length: 2\r\n\r\n{}")
                    "POST /hook HTTP/1.1"
                    [
                        "Host", "A.Example:8080"
                        "User-Agent", "GitHub-Hookshot/1"
                        "Accept", "*/*"
                        "Content-Type", "application/json; charset=utf-8"
                        "Content-Encoding", "identity"
                        "X-Hub-Signature-256", "sha256=abc"
                        "X-Forwarded-For", "1.2.3.4"
                        "Authorization", "Basic eDp5"
                        "Cookie", "a=b; c=d"
                        "X-Empty", ""
                        "Date", "Mon, 23 Nov 2026 00:00:00 GMT"
                        "Expires", "nonsense"
                        "Referer", "://not a uri"
                        "If-None-Match", "\"x\", W/\"y\""
                        "Content-Length", "2"
                        via
                    ]
                    "{}"
        }

        testCaseTask "has duplicate fields on lines of their own, in their order"
        <| fun () -> task {
            do!
                expectLines
                    ("GET / HTTP/1.1\r\nHost: a.example\r\nX-A: 2\r\nAccept: a/b\r\nX-A: 1\r\nCookie: a\r\nAccept: c/d\r\n"
                     + "X-A: 2\r\nCookie: b\r\nVia: 1.0 fred\r\nVia: 1.1 b (x, y)\r\n\r\n")
                    "GET / HTTP/1.1"
                    [
                        "Host", "a.example"
                        "X-A", "2"
                        "X-A", "1"
                        "X-A", "2"
                        "Accept", "a/b"
                        "Accept", "c/d"
                        "Cookie", "a"
                        "Cookie", "b"
                        "Via", "1.0 fred"
                        "Via", "1.1 b (x, y)"
                        via
                    ]
                    ""
        }

        testCaseTask "has the bytes of a field that are no ASCII"
        <| fun () -> task {
            let! copies, _ =
                copiesOf (
                    Array.concat [
                        "GET / HTTP/1.1\r\nHost: a.example\r\nX-L: caf"B
                        [| 0xE9uy; 0x20uy; 0xC3uy; 0xA9uy; 0xFFuy |]
                        "\r\n\r\n"B
                    ]
                )

            Expect.equal (copies.Head.Values "X-L") [ "caf\u00e9 \u00c3\u00a9\u00ff" ] "each byte"
        }

        testCaseTask "has no hop-by-hop field, and none that Connection names"
        <| fun () -> task {
            do!
                expectLines
                    ("POST / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\n"
                     + "Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X-T\r\n"
                     + "X-Hop: 1\r\nx-hop: 2\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n")
                    "POST / HTTP/1.1"
                    [ "Host", "a.example"; "X-Stays", "1"; "Content-Length", "0"; via ]
                    ""
        }

        testCaseTask "asks for no upgrade"
        <| fun () -> task {
            let! copy =
                copyOf
                    "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"

            Expect.equal
                (List.sort copy.Fields)
                (List.sort [ "Host", "a.example"; "Sec-WebSocket-Key", "x"; via ])
                "neither field"
        }

        testCaseTask "of a GET without a body has none, though it has a type"
        <| fun () -> task {
            do!
                expectLines
                    "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\n\r\n"
                    "GET / HTTP/1.1"
                    [ "Host", "a.example"; "Content-Type", "text/plain"; via ]
                    ""
        }

        testCaseTask "of a body of length 0 says so"
        <| fun () -> task {
            do!
                expectLines
                    "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
                    "GET / HTTP/1.1"
                    [ "Host", "a.example"; "Content-Length", "0"; via ]
                    ""
        }

        testCaseTask "of a chunked body has its length and its bytes"
        <| fun () -> task {
            do!
                expectLines
                    ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                     + "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
                    "POST / HTTP/1.1"
                    [ "Host", "a.example"; "Content-Length", "5"; via ]
                    "abcde"
        }

        testCaseTask "has every byte of its body"
        <| fun () -> task {
            let body = Array.init 300_000 (fun i -> byte (i * 31 + i / 256))

            let! copies, _ =
                copiesOf (
                    Array.concat [
                        Encoding.ASCII.GetBytes
                            $"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n"
                        body
                    ]
                )

            for copy in copies do
                Expect.isTrue (copy.Body = body) "the same"
        }

        testCaseTask "is not compressed, unpacked or asked to be"
        <| fun () -> task {
            let! copy =
                copyOf
                    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\u001f\u008b\u0008x"

            Expect.equal copy.Text "\u001f\u008b\u0008x" "as it came"
            Expect.isEmpty (copy.Values "Accept-Encoding") "nothing is asked for"
        }

        testCaseTask "reaches the good targets whatever the others do"
        <| fun () -> task {
            use good = TestTarget.ok ()
            use silent = TestTarget.silent ()
            use failing = TestTarget.answering "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
            use garbage = TestTarget.answering "nonsense\r\n\r\n"

            let ports = [
                TestTarget.refusedPort ()
                silent.Port
                failing.Port
                garbage.Port
                good.Port
            ]

            use! proxy = TestProxy.Start(Manifests.route "a.example" ports)

            for n in 1..5 do
                let! answer =
                    TestClient.roundTrip
                        proxy.Port
                        $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx"

                Expect.equal (TestClient.status answer) 202 "accepted"

            let! copies = good.Take 5
            Expect.equal (copies |> List.map _.Start |> set |> Set.count) 5 "each once"
            (silent :> IDisposable).Dispose()
            do! proxy.Settled()
            let totals = proxy.Totals

            Expect.equal
                (totals.Accepted, totals.Delivered, totals.Failed)
                (25L, 5L, 20L)
                "and each has its outcome"

            for words in [ "could not connect"; "answered 500"; "not HTTP" ] do
                Expect.exists proxy.Log (fun line -> line.Contains words) words
        }
    ]
