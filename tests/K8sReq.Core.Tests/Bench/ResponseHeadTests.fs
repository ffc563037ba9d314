module K8sReq.Core.Tests.Bench.ResponseHeadTests

open System
open System.Text
open Expecto
open K8sReq.Bench

let private status (text: string) =
    ResponseHead.status (ReadOnlySpan(Encoding.Latin1.GetBytes text))

let tests =
    testList "Bench.ResponseHead" [
        test "a whole response has its status" {
            for text, expected in
                [
                    "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 202
                    "HTTP/1.1 202 Accepted\r\nDate: x\r\n\r\n", 202
                    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nbusy\n", 503
                    "HTTP/1.1 404 Not Found\r\n\r\n", 404
                    "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 400
                ] do
                Expect.equal (status text) expected text
        }

        test "until it is whole it has none" {
            for text in
                [
                    ""
                    "HTTP/1.1 20"
                    "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n"
                    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbus"
                    "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
                ] do
                Expect.equal (status text) 0 text
        }
    ]
