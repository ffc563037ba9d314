/// Answers of targets, spoilt at random: reading one must end, must not throw, must stay within its bytes, and must not
/// depend on how they were split.
module K8sReq.Fuzz.Answers

open System
open System.Text
open K8sReq.Core

let private seeds =
    [|
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nDate: x\r\n\r\n"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nConnection: a, close\r\n\r\n5;a=b\r\nhello\r\n1F\r\n0123456789012345678901234567890\r\n0\r\nX: y\r\n\r\n"
        "HTTP/1.0 503 No\r\nRetry-After: Tue, 01 Jan 2030 00:00:00 GMT\r\n folded\r\n\r\nbody"
        "HTTP/1.1 200 OK\nTransfer-Encoding:chunked\n\n5\nhello\n0\n\n"
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 99999999999999999\r\nContent-Length: 1\r\n\r\n"
    |]
    |> Array.map Encoding.Latin1.GetBytes

// What matters to a reader is likelier than chance would have it.
let private likely = "\r\n\t :;,0123456789abcdefABCDEFHTTP/1.chunkedclose\000\127"B

/// A seed with some bytes changed, put in, taken out or doubled.
let spoil (random: Random) : byte[] =
    let answer = ResizeArray(seeds[random.Next seeds.Length])

    let anyByte () =
        if random.Next 4 = 0 then
            byte (random.Next 256)
        else
            likely[random.Next likely.Length]

    for _ in 1 .. random.Next 8 do
        let place = random.Next(answer.Count + 1)

        match random.Next 4 with
        | 0 when place < answer.Count -> answer[place] <- anyByte ()
        | 1 -> answer.Insert(place, anyByte ())
        | 2 when place < answer.Count ->
            answer.RemoveRange(place, min (1 + random.Next 5) (answer.Count - place))
        | _ when place < answer.Count ->
            answer.InsertRange(place, answer.GetRange(place, min (1 + random.Next 20) (answer.Count - place)))
        | _ -> ()

    answer.ToArray()

/// What is made of an answer that comes in pieces of these lengths: status, framing, where its body ended and how much
/// came after it.
let private receive (isHead: bool) (answer: byte[]) (nextLength: unit -> int) =
    let mutable available = 0
    let mutable head = ValueNone
    let mutable reason: string | null = null
    let mutable body = AnswerBody.start AnswerFraming.NoBody
    let mutable bodyTaken = 0
    let mutable rest = 0

    let feed first last =
        let struct (state, taken) =
            AnswerBody.feed (ReadOnlySpan(answer, first, last - first)) body

        if taken < 0 || taken > last - first then
            failwith "it took what was not there"

        body <- state
        bodyTaken <- bodyTaken + taken
        rest <- rest + (last - first - taken)

    while available < answer.Length && isNull reason do
        let next = min answer.Length (available + nextLength ())

        match head with
        | ValueSome _ -> feed available next
        | ValueNone ->
            match AnswerHead.read isHead (ReadOnlySpan(answer, 0, next)) with
            | HeadReading.Incomplete -> ()
            | HeadReading.NoHttp why -> reason <- why
            | HeadReading.Complete found ->
                if found.Length > next then
                    failwith "its head is longer than what was there"

                head <- ValueSome found
                body <- AnswerBody.start found.Framing
                feed found.Length next

        available <- next

    let status =
        match head with
        | ValueSome head -> struct (head.Status, head.KeepsAlive, head.RetryAfter)
        | ValueNone -> struct (0, false, reason)

    struct (status, body, bodyTaken, rest)

/// Reads it whole and twice in pieces.
let check (random: Random) (answer: byte[]) : unit =
    let isHead = random.Next 8 = 0
    let whole = receive isHead answer (fun () -> answer.Length)
    let byByte = receive isHead answer (fun () -> 1)
    let inPieces = receive isHead answer (fun () -> 1 + random.Next 40)

    if whole <> byByte || whole <> inPieces then
        failwith $"whole {whole}, byte by byte {byByte}, in pieces {inPieces}"
