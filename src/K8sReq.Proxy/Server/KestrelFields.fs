namespace K8sReq.Proxy

open System
open System.Text

/// Latin-1, but for `rewrite`, which is applied to what is decoded and adds `mostAdded` characters at most. The server
/// decodes the value of a field with the encoding that it is told to: the one place where a value can be seen before
/// the server makes its own of it.
[<Sealed>]
type KestrelFields(rewrite: string -> string, mostAdded: int) =
    inherit Encoding()
    let latin1 = Encoding.Latin1

    let decode (bytes: byte[]) (index: int) (count: int) =
        rewrite (latin1.GetString(bytes, index, count))

    override _.GetByteCount(chars: char[], index: int, count: int) =
        latin1.GetByteCount(chars, index, count)

    override _.GetMaxByteCount count = latin1.GetMaxByteCount count

    override _.GetBytes(chars: char[], charIndex: int, count: int, bytes: byte[], byteIndex: int) =
        latin1.GetBytes(chars, charIndex, count, bytes, byteIndex)

    override _.GetCharCount(bytes: byte[], index: int, count: int) = (decode bytes index count).Length

    override _.GetMaxCharCount count =
        latin1.GetMaxCharCount count + mostAdded

    override _.GetChars(bytes: byte[], byteIndex: int, count: int, chars: char[], charIndex: int) =
        let decoded = decode bytes byteIndex count
        decoded.CopyTo(0, chars, charIndex, decoded.Length)
        decoded.Length

module KestrelFields =
    // Kestrel reads "+4" as 4. A value that is no digits (RFC 9110 section 8.6) is made into one that it refuses.
    let private onlyDigits (value: string) =
        if value.Length > 0 && value |> Seq.forall Char.IsAsciiDigit then
            value
        else
            "none"

    // Kestrel refuses an empty port, which means the same as none (RFC 9110 section 4.2.3, RFC 3986 section 6.2.3).
    let private withoutEmptyPort (value: string) =
        if value.Length > 1 && value.EndsWith ':' then
            value.Substring(0, value.Length - 1)
        else
            value

    /// To decode a Host field's value with.
    let host = KestrelFields(withoutEmptyPort, 0)

    /// To decode a Content-Length field's value with.
    let contentLength = KestrelFields(onlyDigits, 4)
