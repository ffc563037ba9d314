namespace K8sReq.Core

open System
open System.Buffers
open System.Text

/// The head of a plain request: HTTP/1.1 with nothing in it that two readers could read differently.
[<Struct; NoEquality; NoComparison>]
type PlainHead = {
    Head: RequestHead
    /// Bytes of the head, with the empty line at its end.
    Length: int
    /// How many bytes of body follow; none if the head does not say so, and then there is no body.
    ContentLength: int64 voption
    /// Whether the client asks for the connection to be closed after the response.
    ClosesAfter: bool
}

/// Why a head is not plain.
[<Struct; RequireQualifiedAccess>]
type Oddity =
    /// It does not begin with one of the usual methods, a space and a slash.
    | Start
    /// It has more bytes or headers than plain ones have.
    | TooLarge
    | Target
    | Version
    /// A line is no header: a name, a colon, and a value without anything odd, up to the line's end.
    | Line
    /// There is none, or two, or it is not a name with or without a port.
    | Host
    /// Content-Length is no plain number, or there are two.
    | ContentLength
    | Connection
    /// A header that changes how a message or its connection is read.
    | Reserved

/// What bytes that were received make of a plain head.
[<Struct; RequireQualifiedAccess; NoEquality; NoComparison>]
type PlainReading =
    /// So far it may become one.
    | Incomplete
    /// The server is to read it.
    | NotPlain of oddity: Oddity
    | Plain of plain: PlainHead

/// Reads plain heads, and leaves every other to the server. It takes less than the server takes, and reads it the same way:
/// `fuzz` shows it.
module PlainHead =
    /// A head with more bytes is not plain.
    [<Literal>]
    let Longest = 16384

    /// A head with more headers is not plain.
    [<Literal>]
    let MostHeaders = 100

    // 15 digits are far from where numbers overflow.
    let private mostDigits = 15
    let private mostPortDigits = 5

    let private headEnd = "\r\n\r\n"B
    let private version = " HTTP/1.1\r\n"B

    // The most frequent first.
    let private methods = [| "POST"; "GET"; "PUT"; "DELETE"; "PATCH"; "HEAD"; "OPTIONS" |]

    let private starts =
        methods |> Array.map (fun method -> Encoding.ASCII.GetBytes(method + " /"))

    let private lettersAndDigits =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    let private bytesOf (text: string) =
        SearchValues.Create(ReadOnlySpan(Encoding.ASCII.GetBytes text))

    // Path and query of RFC 3986, and the brackets that many clients do not escape.
    let private targetBytes = bytesOf (lettersAndDigits + "-._~!$&'()*+,;=:@/?%[]")
    let private nameBytes = bytesOf (lettersAndDigits + "!#$%&'*+-.^_`|~")
    let private valueBytes = bytesOf ("\t" + String([| ' ' .. '~' |]))
    let private hostBytes = bytesOf (lettersAndDigits + "-._")
    let private hexDigits = bytesOf "0123456789ABCDEFabcdef"

    let private isDigits (text: ReadOnlySpan<byte>) =
        text.IndexOfAnyExceptInRange('0'B, '9'B) < 0

    let private isNamed (expected: string) (text: ReadOnlySpan<byte>) =
        Ascii.EqualsIgnoreCase(text, expected.AsSpan())

    // The index of the method that it begins with, or can begin with once there is more of it; -1 for none.
    let private methodOf (received: ReadOnlySpan<byte>) : int =
        let mutable found = -1
        let mutable index = 0

        while found < 0 && index < starts.Length do
            let start = starts[index]
            let length = min start.Length received.Length

            if received.Slice(0, length).SequenceEqual(ReadOnlySpan(start, 0, length)) then
                found <- index

            index <- index + 1

        found

    // Each percent sign has two digits after it, which are not those of the null character.
    let private isEscaped (target: ReadOnlySpan<byte>) : bool =
        let mutable isRight = true
        let mutable rest = target
        let mutable at = rest.IndexOf '%'B

        while isRight && at >= 0 do
            isRight <-
                rest.Length - at > 2
                && hexDigits.Contains rest[at + 1]
                && hexDigits.Contains rest[at + 2]
                && not (rest[at + 1] = '0'B && rest[at + 2] = '0'B)

            rest <- rest.Slice(at + 1)
            at <- rest.IndexOf '%'B

        isRight

    // A name or an IPv4 address, and a port that is not empty, if any.
    let private isHost (value: ReadOnlySpan<byte>) : bool =
        match value.IndexOfAnyExcept hostBytes with
        | -1 -> value.Length > 0
        | 0 -> false
        | colon when value[colon] = ':'B ->
            let port = value.Slice(colon + 1)
            port.Length > 0 && port.Length <= mostPortDigits && isDigits port
        | _ -> false

    // -1 for what is no number, or not in its shortest form.
    let private lengthOf (value: ReadOnlySpan<byte>) : int64 =
        if
            value.Length > 0
            && value.Length <= mostDigits
            && isDigits value
            && (value[0] <> '0'B || value.Length = 1)
        then
            let mutable length = 0L

            for digit in value do
                length <- length * 10L + int64 (digit - '0'B)

            length
        else
            -1L

    // Headers that change how this message, its connection or the next message are read. X-Content-Length is what the server
    // renames the length of a message to that has a transfer coding, too.
    let private isReserved (name: ReadOnlySpan<byte>) : bool =
        match name.Length with
        | 2 -> isNamed "TE" name
        | 6 -> isNamed "Expect" name
        | 7 -> isNamed "Upgrade" name || isNamed "Trailer" name
        | 10 -> isNamed "Keep-Alive" name
        | 14 -> isNamed "HTTP2-Settings" name
        | 16 -> isNamed "X-Content-Length" name || isNamed "Proxy-Connection" name
        | 17 -> isNamed "Transfer-Encoding" name
        | _ -> false

    // The same text as before where it says the same, so that a connection whose requests are alike makes few strings.
    let private isText (text: string | null) (bytes: ReadOnlySpan<byte>) : bool =
        match text with
        | null -> false
        | text -> Ascii.Equals(bytes, text.AsSpan())

    let private textOf (before: string | null) (bytes: ReadOnlySpan<byte>) : string =
        if isText before bytes then
            nonNull before
        else
            Encoding.Latin1.GetString bytes

    let private nameOf (before: string | null) (bytes: ReadOnlySpan<byte>) : string =
        if isText before bytes then
            nonNull before
        else
            HeaderNames.ofBytes bytes

    // Of a head's whole lines, from the first one on; those of a whole head end with the empty line. A line feed ends each of
    // them, which no search below goes beyond.
    let private readLines
        (before: RequestHead | null)
        (head: ReadOnlySpan<byte>)
        (isWhole: bool)
        : PlainReading =
        let methodIndex = methodOf head

        if methodIndex < 0 then
            PlainReading.NotPlain Oddity.Start
        else
            let method = methods[methodIndex]
            let afterMethod = head.Slice(method.Length + 1)
            let targetLength = afterMethod.IndexOfAnyExcept targetBytes
            let target = afterMethod.Slice(0, targetLength)

            if not (isEscaped target) then
                PlainReading.NotPlain Oddity.Target
            elif not (afterMethod.Slice(targetLength).StartsWith(ReadOnlySpan version)) then
                PlainReading.NotPlain(
                    if afterMethod[targetLength] = ' 'B then
                        Oddity.Version
                    else
                        Oddity.Target
                )
            else
                // Line feeds, without those of the first line and the empty one.
                let count = head.Count '\n'B - (if isWhole then 2 else 1)
                let last = if isWhole then head.Length - 2 else head.Length

                let lines: HeaderLine[] =
                    if isWhole && count <= MostHeaders then
                        Array.zeroCreate count
                    else
                        Array.Empty()

                let known: HeaderLine[] =
                    match before with
                    | null -> Array.Empty()
                    | before -> before.Lines

                let mutable position = method.Length + 1 + targetLength + version.Length
                let mutable next = 0

                let mutable odd =
                    if count > MostHeaders then
                        ValueSome Oddity.TooLarge
                    else
                        ValueNone

                let mutable hasHost = false
                let mutable host = ""
                let mutable contentLength = ValueNone
                let mutable hasConnection = false
                let mutable closesAfter = false

                while odd.IsNone && position < last do
                    let line = head.Slice position
                    let nameLength = line.IndexOfAnyExcept nameBytes

                    if nameLength = 0 || line[nameLength] <> ':'B then
                        odd <- ValueSome Oddity.Line
                    else
                        let name = line.Slice(0, nameLength)
                        let afterName = line.Slice(nameLength + 1)
                        let valueLength = afterName.IndexOfAnyExcept valueBytes

                        if afterName[valueLength] <> '\r'B || afterName[valueLength + 1] <> '\n'B then
                            odd <- ValueSome Oddity.Line
                        else
                            let value = MessageSyntax.trim (afterName.Slice(0, valueLength))

                            let struct (knownName: string | null, knownValue: string | null) =
                                if next < known.Length then
                                    let struct (name, value) = known[next]
                                    struct (name, value)
                                else
                                    struct (null, null)

                            let mutable text: string | null = null

                            match nameLength with
                            | 4 when isNamed "Host" name ->
                                if hasHost || not (isHost value) then
                                    odd <- ValueSome Oddity.Host
                                elif isWhole then
                                    host <- textOf knownValue value
                                    text <- host

                                hasHost <- true
                            | 14 when isNamed "Content-Length" name ->
                                match lengthOf value with
                                | -1L -> odd <- ValueSome Oddity.ContentLength
                                | _ when contentLength.IsSome -> odd <- ValueSome Oddity.ContentLength
                                | length -> contentLength <- ValueSome length
                            | 10 when isNamed "Connection" name ->
                                if hasConnection then
                                    odd <- ValueSome Oddity.Connection
                                elif isNamed "close" value then
                                    closesAfter <- true
                                    text <- "close"
                                elif isNamed "keep-alive" value then
                                    text <- "keep-alive"
                                else
                                    odd <- ValueSome Oddity.Connection

                                hasConnection <- true
                            | _ ->
                                if isReserved name then
                                    odd <- ValueSome Oddity.Reserved

                            if isWhole && odd.IsNone then
                                lines[next] <-
                                    struct (nameOf knownName name,
                                            match text with
                                            | null -> textOf knownValue value
                                            | text -> text)

                            next <- next + 1
                            position <- position + nameLength + 1 + valueLength + 2

                match odd with
                | ValueSome oddity -> PlainReading.NotPlain oddity
                | ValueNone when not isWhole -> PlainReading.Incomplete
                | ValueNone when not hasHost -> PlainReading.NotPlain Oddity.Host
                | ValueNone ->
                    PlainReading.Plain {
                        Head = {
                            Method = method
                            Target =
                                textOf
                                    (match before with
                                     | null -> null
                                     | before -> before.Target)
                                    target
                            Host = host
                            IsHttp10 = false
                            Lines = lines
                        }
                        Length = head.Length
                        ContentLength = contentLength
                        ClosesAfter = closesAfter
                    }

    /// `read`, with the head of the request before on the same connection, null for none: texts that are the same again are
    /// not made again. It changes nothing else.
    let readAfter (before: RequestHead | null) (received: ReadOnlySpan<byte>) : PlainReading =
        let window =
            if received.Length > Longest then
                received.Slice(0, Longest)
            else
                received

        match window.IndexOf(ReadOnlySpan headEnd) with
        | -1 when received.Length >= Longest -> PlainReading.NotPlain Oddity.TooLarge
        | -1 ->
            match window.LastIndexOf '\n'B with
            | -1 when methodOf window < 0 -> PlainReading.NotPlain Oddity.Start
            | -1 -> PlainReading.Incomplete
            | lineFeed -> readLines before (window.Slice(0, lineFeed + 1)) false
        | at -> readLines before (window.Slice(0, at + headEnd.Length)) true

    /// The head at the beginning of what was received so far; what comes after it changes nothing. To be called again with
    /// all of it when more has come of an incomplete one. Of a head that is not whole yet, the lines that are say already
    /// whether it can become a plain one. Never reads beyond the span, whatever is in it.
    let read (received: ReadOnlySpan<byte>) : PlainReading = readAfter null received
