/// The head of a copy, written so that SocketsHttpHandler sends it as it is.
///
/// Left to itself the handler joins the values of a repeated field into one line, respells names that it knows, and
/// takes fields such as Content-Type only together with a body. A copy is to be faithful, so the whole head goes out
/// as the value of one field, with characters between the lines that only `encoding` turns into line ends. No field
/// value can contain them: values are decoded from single bytes.
module K8sReq.TestKit.Baseline.HeadBlock

open System
open System.Text
open K8sReq.Core

// Private-use characters, beyond all that Latin-1 has.
[<Literal>]
let private CarriageReturn = '\uE00D'

[<Literal>]
let private LineFeed = '\uE00A'

/// The field that carries the block: every copy has one, and the handler never looks at it.
[<Literal>]
let Carrier = "Via"

let private toByte (c: char) =
    match c with
    | CarriageReturn -> 13uy
    | LineFeed -> 10uy
    | c when c <= '\255' -> byte c
    | _ -> byte '?'

/// Latin-1, but for the two characters above. One byte a character.
type private BlockEncoding() =
    inherit Encoding()
    override _.GetByteCount(_: char[], _: int, count: int) = count
    override _.GetMaxByteCount count = count
    override _.GetCharCount(_: byte[], _: int, count: int) = count
    override _.GetMaxCharCount count = count

    override _.GetBytes(chars: char[], charIndex: int, count: int, bytes: byte[], byteIndex: int) =
        for i in 0 .. count - 1 do
            bytes[byteIndex + i] <- toByte chars[charIndex + i]

        count

    override _.GetBytes(chars: ReadOnlySpan<char>, bytes: Span<byte>) =
        for i in 0 .. chars.Length - 1 do
            bytes[i] <- toByte chars[i]

        chars.Length

    override _.GetChars(bytes: byte[], byteIndex: int, count: int, chars: char[], charIndex: int) =
        for i in 0 .. count - 1 do
            chars[charIndex + i] <- char bytes[byteIndex + i]

        count

/// For every field value of a copy.
let encoding: Encoding = BlockEncoding()

let private isCarrier (struct (name, _): HeaderLine) =
    name.Equals(Carrier, StringComparison.OrdinalIgnoreCase)

/// The value of the carrier: its own first value, then all other lines in their order, the carrier's further
/// values among them.
let render (lines: HeaderLine[]) : string =
    let carrierIndex = Array.findIndex isCarrier lines
    let struct (_, own) = lines[carrierIndex]
    let block = StringBuilder(own, 512)

    for index in 0 .. lines.Length - 1 do
        if index <> carrierIndex then
            let struct (name, value) = lines[index]

            block.Append(CarriageReturn).Append(LineFeed).Append(name).Append(": ").Append(value)
            |> ignore

    block.ToString()
