module K8sReq.Core.Tests.WireHeadTests

open System
open System.Text
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private render (head: WireHead) =
    // Room for one byte more, which has to stay as it is.
    let bytes = Array.create (WireHead.length head + 1) 255uy
    WireHead.write (bytes.AsSpan()) head
    Expect.equal bytes[bytes.Length - 1] 255uy "nothing beyond its length"
    Encoding.Latin1.GetString(bytes, 0, bytes.Length - 1)

let private head = {
    Method = "POST"
    Target = "/a%20b?c=d"
    Host = "A.example:80"
    Lines = [| struct ("X-A", "1"); struct ("x-a", ""); struct ("Via", "1.1 k8sreq") |]
    ContentLength = ValueSome 12345L
}

let tests =
    testList "WireHead" [
        test "the first line, Host, the other fields in their order, the length" {
            Expect.equal
                (render head)
                "POST /a%20b?c=d HTTP/1.1\r\nHost: A.example:80\r\nX-A: 1\r\nx-a: \r\nVia: 1.1 k8sreq\r\nContent-Length: 12345\r\n\r\n"
                "as it was given"
        }

        test "no length where there is no body, and 0 where there is an empty one" {
            let rendered length =
                render {
                    head with
                        Lines = [||]
                        ContentLength = length
                }

            Expect.isFalse ((rendered ValueNone).Contains "Length") "none"
            Expect.stringContains (rendered (ValueSome 0L)) "\r\nContent-Length: 0\r\n\r\n" "0"
        }

        property
            "its length is what it takes, whatever the numbers and texts"
            (fun (length: uint32) (values: byte[]) ->
                let rendered =
                    render {
                        head with
                            Lines = [| struct ("X", Encoding.Latin1.GetString values) |]
                            ContentLength = ValueSome(int64 length)
                    }

                rendered.EndsWith
                    $"X: {Encoding.Latin1.GetString values}\r\nContent-Length: {length}\r\n\r\n")
    ]
