/// Requests that can be told apart: each has a number, and everything in it follows from that.
module K8sReq.Crash.Payload

open System
open K8sReq.TestKit.HttpMessage

let host = "a.example"

/// Bytes of a body: small ones, and some that take several pages of the journal.
let private length (number: int) =
    if number % 50 = 0 then 60_000 else number * 37 % 3000

let private body (number: int) =
    Array.init (length number) (fun index -> byte (number * 31 + index * 7))

/// The bytes of a request.
let request (number: int) : byte[] =
    let body = body number

    let head =
        $"POST /{number} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {body.Length}\r\n\r\n"

    Array.append (Text.Encoding.ASCII.GetBytes head) body

/// The number of a copy; None if it is not what was sent.
let tryIdentify (copy: Message) : int option =
    match copy.Start.Split ' ' with
    | [| "POST"; path; "HTTP/1.1" |] ->
        match Int32.TryParse(path.TrimStart '/') with
        | true, number when copy.Body.AsSpan().SequenceEqual(ReadOnlySpan(body number)) -> Some number
        | _ -> None
    | _ -> None
