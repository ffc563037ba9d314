namespace K8sReq.Core

open System
open System.Buffers

/// Which texts may stand where in the head of an HTTP/1.1 message.
module MessageSyntax =
    let private tokenCharacters =
        SearchValues.Create(
            "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".AsSpan()
        )

    /// A token (RFC 9110 section 5.6.2): a method, a field's name, a pseudonym in a Via field.
    let isToken (text: string) : bool =
        text.Length > 0 && text.AsSpan().IndexOfAnyExcept tokenCharacters < 0

    /// A field's name, or one of HTTP/2's pseudo-header fields, which no copy carries.
    let isFieldName (name: string) : bool =
        isToken name || (name.StartsWith ':' && isToken (name.Substring 1))

    let private isVisible (text: string) =
        text.AsSpan().IndexOfAnyExceptInRange('!', '~') < 0

    let private targetCharacters =
        SearchValues.Create(
            String(
                [|
                    yield! seq { '!' .. '~' } |> Seq.filter ((<>) '#')
                    yield! seq { '\128' .. '\255' }
                |]
            )
                .AsSpan()
        )

    /// What can be a request target, a character for each byte: no space and no control, which would end it, and no
    /// fragment, which is not sent (RFC 9110 section 4.2.5). Bytes above
    /// 127 are to be escaped (RFC 3986 section 2.1); many clients send them as they are, and servers take them.
    let isTarget (target: string) : bool =
        target.Length > 0 && target.AsSpan().IndexOfAnyExcept targetCharacters < 0

    let private controls =
        SearchValues.Create(
            String([| yield! seq { '\000' .. '\031' } |> Seq.filter ((<>) '\t'); '\127' |]).AsSpan()
        )

    /// What can be a field's value (RFC 9110 section 5.5): no control but the tab.
    let isFieldValue (value: string) : bool = value.AsSpan().IndexOfAny controls < 0

    /// What may stand around a field's value and between its parts (RFC 9110 section 5.6.3).
    let isSpace (byte: byte) : bool = byte = ' 'B || byte = '\t'B

    /// A field's value without the spaces around it.
    let trim (value: ReadOnlySpan<byte>) : ReadOnlySpan<byte> =
        let mutable first = 0
        let mutable last = value.Length - 1

        while first <= last && isSpace value[first] do
            first <- first + 1

        while last > first && isSpace value[last] do
            last <- last - 1

        value.Slice(first, last - first + 1)

    /// What can stand in a Host field, which may be empty; whether it is a host, routing finds out.
    let isHost (host: string) : bool = isVisible host
