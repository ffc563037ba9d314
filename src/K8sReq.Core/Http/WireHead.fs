namespace K8sReq.Core

open System
open System.Text

/// The head of a copy as it goes over the wire. An object: it is handed on several times until it is written, and copying it
/// costs more than one more object.
[<NoEquality; NoComparison>]
type WireHead = {
    Method: string
    /// Path and query, byte for byte.
    Target: string
    Host: string
    /// All other fields but Content-Length.
    Lines: HeaderLine[]
    /// None if the request had no body, which is not the same as one of length 0.
    ContentLength: int64 voption
}

module WireHead =
    let private version = " HTTP/1.1\r\nHost: "B
    let private space = " "B
    let private separator = ": "B
    let private lineEnd = "\r\n"B
    let private contentLength = "Content-Length: "B

    let private digits (number: int64) =
        let mutable count = 1
        let mutable rest = number / 10L

        while rest > 0L do
            count <- count + 1
            rest <- rest / 10L

        count

    /// How many bytes these lines take.
    let linesLength (lines: HeaderLine[]) : int =
        let mutable count = 0

        for struct (name, value) in lines do
            count <- count + name.Length + separator.Length + value.Length + lineEnd.Length

        count

    /// How many bytes `write` writes.
    let length (head: WireHead) : int =
        let line =
            head.Method.Length
            + space.Length
            + head.Target.Length
            + version.Length
            + head.Host.Length
            + lineEnd.Length

        let framing =
            match head.ContentLength with
            | ValueSome length -> contentLength.Length + digits length + lineEnd.Length
            | ValueNone -> 0

        line + linesLength head.Lines + framing + lineEnd.Length

    let private putText (text: string) (rest: Span<byte>) : Span<byte> =
        rest.Slice(Encoding.Latin1.GetBytes(text.AsSpan(), rest))

    let private putBytes (bytes: byte[]) (rest: Span<byte>) : Span<byte> =
        bytes.AsSpan().CopyTo rest
        rest.Slice bytes.Length

    let private putNumber (number: int64) (rest: Span<byte>) : Span<byte> =
        let mutable written = 0
        number.TryFormat(rest, &written) |> ignore
        rest.Slice written

    /// Writes these lines to the beginning of the span, and gives what is left of it.
    let writeLines (lines: HeaderLine[]) (destination: Span<byte>) : Span<byte> =
        let mutable rest = destination

        for struct (name, value) in lines do
            rest <- putText name rest
            rest <- putBytes separator rest
            rest <- putText value rest
            rest <- putBytes lineEnd rest

        rest

    /// Writes the head to the beginning of the span, which has room for it. Characters are bytes: what Latin-1 does not
    /// have cannot come from a request.
    let write (destination: Span<byte>) (head: WireHead) : unit =
        let mutable rest = putText head.Method destination
        rest <- putBytes space rest
        rest <- putText head.Target rest
        rest <- putBytes version rest
        rest <- putText head.Host rest
        rest <- putBytes lineEnd rest

        rest <- writeLines head.Lines rest

        match head.ContentLength with
        | ValueSome length ->
            rest <- putBytes contentLength rest
            rest <- putNumber length rest
            rest <- putBytes lineEnd rest
        | ValueNone -> ()

        rest <- putBytes lineEnd rest
