/// As much of HTTP/2 (RFC 9113) as it takes to send one request with any bytes in its fields.
module K8sReq.Host.Tests.Http2Client

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks

/// `:status: 400` in a field block: an entry of the static table (RFC 7541, appendix A).
let status400 = 0x8Cuy

let private frame (kind: byte) (flags: byte) (stream: int) (payload: byte[]) =
    let head = [|
        byte (payload.Length >>> 16)
        byte (payload.Length >>> 8)
        byte payload.Length
        kind
        flags
        0uy
        0uy
        0uy
        byte stream
    |]

    Array.append head payload

// A string without Huffman coding; shorter than 127 bytes, so that its length is one byte.
let private text (value: string) =
    let bytes = Encoding.Latin1.GetBytes value
    Array.append [| byte bytes.Length |] bytes

// A literal field without indexing.
let private field (name: string, value: string) =
    Array.concat [ [| 0uy |]; text name; text value ]

let rec private readResponse (stream: NetworkStream) : Task<byte[]> = task {
    let head = Array.zeroCreate<byte> 9
    do! stream.ReadExactlyAsync(head, 0, 9)
    let length = (int head[0] <<< 16) ||| (int head[1] <<< 8) ||| int head[2]
    let payload = Array.zeroCreate<byte> length
    do! stream.ReadExactlyAsync(payload, 0, length)

    // HEADERS of the one stream there is.
    if head[3] = 1uy && head[8] = 1uy then
        // An update of the dynamic table's size may come first.
        return payload |> Array.skipWhile (fun b -> b &&& 0xE0uy = 0x20uy)
    else
        return! readResponse stream
}

/// Sends a GET with these fields and gives the field block of the answer.
let get (port: int) (authority: string * string) (fields: (string * string) list) : Task<byte[]> =
    task {
        use client = new TcpClient(NoDelay = true)
        do! client.ConnectAsync(IPAddress.Loopback, port)
        let stream = client.GetStream()

        let block =
            [ ":method", "GET"; ":scheme", "http"; authority ] @ fields
            |> List.map field
            |> Array.concat

        let bytes =
            Array.concat [
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"B
                frame 4uy 0uy 0 [||]
                // END_STREAM and END_HEADERS.
                frame 1uy 5uy 1 block
            ]

        do! stream.WriteAsync(bytes, 0, bytes.Length)
        return! readResponse stream
    }
    |> Waiting.within "an answer over HTTP/2"
