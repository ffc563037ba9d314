namespace K8sReq.Proxy

open System
open System.Globalization
open System.Text
open Microsoft.AspNetCore.WebUtilities
open K8sReq.Core

/// The responses of connections that are served without the server, as bytes. For one thread.
[<Sealed>]
type PlainAnswers(clock: TimeProvider) =
    // By whether the request is HEAD, and whether the connection is closed; made again in each second.
    let accepted: (byte[] | null)[] = Array.zeroCreate 4
    let mutable second = 0L

    let date (now: DateTimeOffset) =
        now.ToString("r", CultureInfo.InvariantCulture)

    let head (status: int) (fields: string) (closes: bool) (now: DateTimeOffset) =
        let reason = ReasonPhrases.GetReasonPhrase status
        let connection = if closes then "Connection: close\r\n" else ""
        $"HTTP/1.1 {status} {reason}\r\n{fields}{connection}Date: {date now}\r\n\r\n"

    // The length of a response to HEAD is not said where it is that of nothing, as the server does.
    let makeAccepted (isHead: bool) (closes: bool) (now: DateTimeOffset) =
        let fields = if isHead then "" else "Content-Length: 0\r\n"
        Encoding.Latin1.GetBytes(head 202 fields closes now)

    /// 202.
    member _.Accepted(isHead: bool, closes: bool) : byte[] =
        let now = clock.GetUtcNow()
        let nowSecond = now.ToUnixTimeSeconds()

        if nowSecond <> second then
            second <- nowSecond
            Array.Clear accepted

        let index = (if isHead then 2 else 0) + (if closes then 1 else 0)

        match accepted[index] with
        | null ->
            let made = makeAccepted isHead closes now
            accepted[index] <- made
            made
        | made -> made

    /// The refusal's status and words.
    member _.Refused(refusal: Refusal, isHead: bool, closes: bool) : byte[] =
        let text = Refusal.text refusal + "\n"

        let retryAfter =
            match Refusal.retryAfter refusal with
            | ValueSome seconds -> $"Retry-After: {seconds}\r\n"
            | ValueNone -> ""

        let fields =
            $"Content-Length: {Encoding.UTF8.GetByteCount text}\r\nContent-Type: text/plain; charset=utf-8\r\n{retryAfter}"

        let head = head (Refusal.status refusal) fields closes (clock.GetUtcNow())
        Encoding.UTF8.GetBytes(if isHead then head else head + text)

    /// 500, after which the connection is closed.
    member _.Failed() : byte[] =
        Encoding.Latin1.GetBytes(head 500 "Content-Length: 0\r\n" true (clock.GetUtcNow()))
