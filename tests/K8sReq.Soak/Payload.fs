/// Requests that can be told apart: each has a number, and everything in it follows from that.
module K8sReq.Soak.Payload

open System
open K8sReq.TestKit.HttpMessage

/// Bytes of a body: mostly small ones, as webhooks are, and some that need several buffers.
let private length (number: int) =
    match number % 20 with
    | 0 -> 0
    | 1 -> 200_000
    | 2
    | 3 -> 20_000
    | _ -> 100 + number % 2000

let private body (number: int) =
    Array.init (length number) (fun index -> byte (number * 31 + index * 7))

let private head (host: string) (number: int) (framing: string) =
    $"POST /{number} HTTP/1.1\r\nHost: {host}\r\nX-Number: {number}\r\n{framing}\r\n"
    |> Text.Encoding.ASCII.GetBytes

/// The bytes of a request; every third one is chunked.
let request (host: string) (number: int) : byte[] =
    let body = body number

    if number % 3 <> 0 then
        Array.append (head host number $"Content-Length: {body.Length}\r\n") body
    else
        let chunks =
            body
            |> Array.chunkBySize 7000
            |> Array.collect (fun chunk ->
                Array.concat [ Text.Encoding.ASCII.GetBytes $"{chunk.Length:x}\r\n"; chunk; "\r\n"B ])

        Array.concat [ head host number "Transfer-Encoding: chunked\r\n"; chunks; "0\r\n\r\n"B ]

/// The number of a copy; None if anything in it belongs to another one.
let tryIdentify (copy: Message) : int option =
    match copy.Start.Split ' ' with
    | [| "POST"; path; "HTTP/1.1" |] ->
        match Int32.TryParse(path.TrimStart '/') with
        | true, number when
            copy.Values "X-Number" = [ string number ]
            && copy.Body.AsSpan().SequenceEqual(ReadOnlySpan(body number))
            ->
            Some number
        | _ -> None
    | _ -> None
