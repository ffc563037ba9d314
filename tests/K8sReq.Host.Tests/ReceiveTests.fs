module K8sReq.Host.Tests.ReceiveTests

open System
open System.IO
open System.Threading
open Expecto
open K8sReq.Core
open K8sReq.Host.Commands
open K8sReq.Proxy
open K8sReq.TestKit

let private settings = {
    Addr = { Host = ListenHost.Any; Port = 0 }
    Name = "app-1"
    Status = 200
    Delay = TimeSpan.Zero
    FailEvery = None
}

let private printed (request: string) = task {
    use log = new LogKeeper()
    use output = new StringWriter()

    match!
        HttpServer.start
            log
            ServerTransport.Pooled
            {
                Headers = Waiting.patience
                Idle = Waiting.patience
                Connections = None
                Memory = None
                HighestDescriptor = System.Int32.MaxValue
                Exhausted = ignore
            }
            {
                Host = ListenHost.Localhost
                Port = 0
            }
            (Receive.handler settings output)
    with
    | Error error -> return failwith $"{error}"
    | Ok server ->
        let! answer = TestClient.roundTrip server.Port request
        do! server.StopAsync CancellationToken.None
        return TestClient.status answer, output.ToString().ReplaceLineEndings "\n"
}

let tests =
    testList "receive" [
        testCaseTask "prints the request as it came, JSON indented"
        <| fun () -> task {
            let! status, text =
                printed
                    "POST /a%2Fb?c HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\nX-A: 1\r\nX-A: 2\r\n\r\n{\"a\":[1]}"

            Expect.equal status 200 "answered"
            Expect.stringStarts text "--- app-1, request 1\nPOST /a%2Fb?c HTTP/1.1\n" "the line"
            Expect.stringContains text "X-A: 1\nX-A: 2\n" "the fields"
            Expect.stringContains text "\n\n{\n  \"a\": [\n    1\n  ]\n}\n" "the body"
        }

        testCaseTask "prints a text as it is and counts the bytes of what is none"
        <| fun () -> task {
            let! _, text = printed "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            Expect.stringContains text "\n\nhello\n" "text"

            let! _, binary =
                printed "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\u0000\u00ff"

            Expect.stringContains binary "\n\n(3 bytes that are no text)\n" "binary"
        }
    ]
