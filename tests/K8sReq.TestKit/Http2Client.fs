/// As much of HTTP/2 (RFC 9113) as it takes to send one request with any bytes in its fields.
module K8sReq.TestKit.Http2Client

open System
open System.Collections.Generic
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

// A number with a prefix of seven bits (RFC 7541 section 5.1).
let private number (value: int) =
    if value < 127 then
        [| byte value |]
    else
        let rec rest (value: int) = [
            if value < 128 then
                byte value
            else
                byte (value &&& 127) ||| 128uy
                yield! rest (value >>> 7)
        ]

        Array.ofList (127uy :: rest (value - 127))

// A string without Huffman coding.
let private text (value: string) =
    let bytes = Encoding.Latin1.GetBytes value
    Array.append (number bytes.Length) bytes

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

// As the program's server writes it: an entry of the static table, or a literal without Huffman coding.
let private statusOf (block: byte[]) =
    let block = block |> Array.skipWhile (fun b -> b &&& 0xE0uy = 0x20uy)

    match int block[0] with
    | indexed when indexed >= 0x80 ->
        Map.ofList [ 8, 200; 9, 204; 10, 206; 11, 304; 12, 400; 13, 404; 14, 500 ]
        |> Map.find (indexed - 0x80)
    | _ -> int (Encoding.ASCII.GetString(block, 2, 3))

/// A connection on which one request comes after the other, each on a stream of its own.
[<Sealed>]
type Connection private (client: TcpClient) =
    let stream = client.GetStream()
    let mutable next = 1
    let answers = Dictionary<int, Result<int, string>>()

    static member Open(port: int) : Task<Connection> = task {
        let client = new TcpClient(NoDelay = true)
        do! client.ConnectAsync(IPAddress.Loopback, port)
        let connection = new Connection(client)
        do! connection.Write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"B)
        // SETTINGS_HEADER_TABLE_SIZE is 0: answers refer to no field of answers before.
        do! connection.Write(frame 4uy 0uy 0 [| 0uy; 1uy; 0uy; 0uy; 0uy; 0uy |])
        return connection
    }

    member private _.Write(bytes: byte[]) : Task =
        stream.WriteAsync(bytes, 0, bytes.Length)

    /// Sends a request without a body, with these fields beside method and scheme; the number of its stream.
    member connection.Send(fields: (string * string) list) : Task<int> = task {
        let id = next
        next <- next + 2

        let pieces =
            [ ":method", "GET"; ":scheme", "http" ] @ fields
            |> List.map field
            |> Array.concat
            |> Array.chunkBySize 16_000

        for index in 0 .. pieces.Length - 1 do
            let kind = if index = 0 then 1uy else 9uy
            let ends = if index = pieces.Length - 1 then 4uy else 0uy
            // END_STREAM stands in the first one.
            let flags = if index = 0 then 1uy ||| ends else ends
            do! connection.Write(frame kind flags id pieces[index])

        return id
    }

    /// The status of the answer on this stream. Answers on other streams that come before it are kept for their turn.
    member connection.Status(id: int) : Task<int> =
        task {
            while not (answers.ContainsKey id) do
                let head = Array.zeroCreate<byte> 9
                do! stream.ReadExactlyAsync(head, 0, 9)
                let length = (int head[0] <<< 16) ||| (int head[1] <<< 8) ||| int head[2]
                let payload = Array.zeroCreate<byte> length
                do! stream.ReadExactlyAsync(payload, 0, length)
                let onStream = (int head[7] <<< 8) ||| int head[8]

                if head[3] = 1uy then
                    answers[onStream] <- Ok(statusOf payload)
                elif head[3] = 3uy then
                    answers.TryAdd(onStream, Error $"stream {onStream} was reset") |> ignore

            match answers[id] with
            | Ok status -> return status
            | Error reason -> return failwith reason
        }
        |> Waiting.within $"an answer on stream {id}"

    interface IDisposable with
        member _.Dispose() = client.Dispose()
