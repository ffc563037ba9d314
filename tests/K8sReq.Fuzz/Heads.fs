/// Heads of requests, made by a grammar of what is plain and of what nearly is, and spoilt at random.
module K8sReq.Fuzz.Heads

open System
open System.Text

let private pick (random: Random) (choices: 'T[]) : 'T = choices[random.Next choices.Length]

let private tokenCharacters =
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

let private visible = String [| '!' .. '~' |]

let private textOf (random: Random) (alphabet: string) (longest: int) =
    let characters = Array.zeroCreate<char>(random.Next(longest + 1))

    for index in 0 .. characters.Length - 1 do
        characters[index] <- alphabet[random.Next alphabet.Length]

    String characters

let private methods = [| "GET"; "HEAD"; "POST"; "PUT"; "PATCH"; "DELETE"; "OPTIONS" |]

let private oddMethods = [|
    "get"
    "Post"
    "TRACE"
    "CONNECT"
    "PRI"
    "M-SEARCH"
    ""
    " GET"
    "GET\t"
    "GE T"
    "PO/ST"
    "G\000T"
    "\r\nGET"
    "\nGET"
    "\022\003\001"
    "POSTT"
    "DELET"
|]

let private targets = [|
    "/"
    "/a"
    "/hooks?source=bench"
    "/a/b/../c/./d"
    "/../.."
    "//a.example/b"
    "/a%20b%2Fc?d=%26"
    "/%E4%BD%A0?%E4%BD%A0"
    "/?"
    "/??a=b&c[]=d"
    "/a:80/http://b/c"
    "/a;b=c,d!$'()*+~_-.@"
    "/%2e%2E/%2f"
    "/%c0%af"
    "/%80%ff"
    "/a?x=%00"
    "/*"
|]

let private oddTargets = [|
    "*"
    ""
    "a"
    "a.example:80"
    "http://a.example/b"
    "HTTP://a.example/b"
    "https://a.example"
    "http://b.example:1/?q"
    "?a"
    "%2F"
    "/%00"
    "/a%0"
    "/a%"
    "/%zz"
    "/a#b"
    "/a\\b"
    "/a\"b"
    "/a^b"
    "/a`b{c}|<d>"
    "/\127"
    "/\001"
    "/\000"
    "/\228\246"
    "/a\tb"
    "/a b"
    "/a  b"
    "/ "
    "\\a"
    "/a\rb"
    "/a HTTP/1.1"
|]

let private versions = [|
    "HTTP/1.0"
    "HTTP/1.2"
    "HTTP/2.0"
    "HTTP/0.9"
    "http/1.1"
    "HTTP/1.1 "
    "HTTP/1.1\t"
    " HTTP/1.1"
    "HTTP/1"
    "HTTP/11"
    "HTTP/1.11"
    "HTTP1.1"
    ""
    "HTTP/1.1\r"
    "HTTP/1.\r"
|]

// Those that the server knows by name, and others.
let private names = [|
    "Accept"
    "Accept-Charset"
    "Accept-Encoding"
    "Accept-Language"
    "Access-Control-Request-Headers"
    "Access-Control-Request-Method"
    "Allow"
    "Alt-Used"
    "Authorization"
    "Baggage"
    "Cache-Control"
    "Content-Encoding"
    "Content-Language"
    "Content-Location"
    "Content-MD5"
    "Content-Range"
    "Content-Type"
    "Cookie"
    "Correlation-Context"
    "Date"
    "DNT"
    "Expires"
    "From"
    "Grpc-Accept-Encoding"
    "Grpc-Encoding"
    "Grpc-Timeout"
    "If-Match"
    "If-Modified-Since"
    "If-None-Match"
    "If-Range"
    "If-Unmodified-Since"
    "Last-Modified"
    "Max-Forwards"
    "Origin"
    "Pragma"
    "Proxy-Authorization"
    "Range"
    "Referer"
    "Request-Id"
    "Sec-WebSocket-Key"
    "Stripe-Signature"
    "Traceparent"
    "Tracestate"
    "Translate"
    "Upgrade-Insecure-Requests"
    "User-Agent"
    "Via"
    "Warning"
    "X-Forwarded-For"
    "X-GitHub-Event"
    "X-Hub-Signature-256"
    "X-Requested-With"
    "X-A"
    "A"
    "b3"
    "Host-A"
    "X_Under"
    "Content_Length"
    "Hos"
    "Hostt"
    "Content-Lengt"
    "Content-Length-"
    "Connectio"
    "Transfer-Encodin"
    "Content Length"
|]

let private reservedNames = [|
    "TE"
    "Trailer"
    "Transfer-Encoding"
    "Expect"
    "Upgrade"
    "X-Content-Length"
    "HTTP2-Settings"
    "Proxy-Connection"
    "Keep-Alive"
|]

let private oddNames = [|
    ""
    " A"
    "A "
    "A\t"
    "A B"
    "A\000"
    "A\r"
    "A(b)"
    "A/b"
    "A\"b"
    "A\228"
    "A\127"
    ":method"
    ":path"
    ":authority"
    "A;b"
    "A,b"
    "A@b"
    "[A]"
    "A{b}"
    "Content-Length "
    "Transfer-Encoding "
    "Host "
    " Host"
    "\tHost"
|]

let private values = [|
    ""
    "a"
    "*/*"
    "a, b;q=0.5"
    "a\tb"
    "a  b"
    "\"a\\\"b\""
    "Mon, 23 Nov 2026 22:00:00 GMT"
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    "sha256=d57c68ca6f92289e6987922ff26938930f6e66a2d161ef06abdf1859230aa23c"
    "a=b; c=d"
    "close"
    "chunked"
    "100-continue"
    "websocket"
    ":"
    "a:b"
    "GET / HTTP/1.1"
|]

let private oddValues = [|
    "a\000b"
    "a\rb"
    "\r"
    "a\001"
    "\027[0m"
    "a\127"
    "\228\246\252"
    "\195\164"
    "a\r\n b"
    "a\r\n\tb"
    "a\nb"
    "a\n b"
    "\011"
    "\012a"
|]

let private hosts = [|
    "a.example"
    "A.Example"
    "a.example:80"
    "a.example:0"
    "a.example:99999"
    "127.0.0.1"
    "127.0.0.1:8080"
    "a"
    "a."
    ".a"
    "a..b"
    "-a-"
    "a_b.example"
    "1"
    "xn--nxasmq6b"
|]

let private oddHosts = [|
    ""
    ":"
    ":80"
    "a.example:"
    "a.example:x"
    "a.example:80:80"
    "a.example:-1"
    "a.example:+1"
    "a.example: 80"
    "a.example:123456"
    "a b"
    "a,b"
    "a/b"
    "a@b"
    "a?b"
    "a#b"
    "a\\b"
    "[::1]"
    "[::1]:80"
    "[::1"
    "[]"
    "[::1]a"
    "[v1.a]"
    "a%20b"
    "a\tb"
    "\228.example"
    "a!$&'()*+;=~b"
    "http://a"
    "a.example, b.example"
    "a\000"
    "*"
    "\"a\""
    "<a>"
    "a^b"
    "a|b"
    "a{b}"
    "a`b"
|]

let private oddLengths = [|
    ""
    "-1"
    "+1"
    "1 1"
    "1, 1"
    "1,1"
    "0x1"
    "1.0"
    "1e1"
    "01"
    "00"
    "000"
    "1234567890123456"
    "9223372036854775807"
    "9223372036854775808"
    "99999999999999999999"
    "a"
    "1a"
    "\2281"
    "1\t1"
    "\"1\""
    "1\0001"
|]

let private connections = [| "close"; "keep-alive"; "Close"; "Keep-Alive"; "CLOSE"; "KEEP-ALIVE" |]

let private oddConnections = [|
    ""
    "close, keep-alive"
    "keep-alive, close"
    "upgrade"
    "Upgrade, HTTP2-Settings"
    "keep-alive, X-A"
    "close, X-A"
    "X-A"
    "closed"
    "clos"
    "close,"
    ",close"
    "close close"
    "keep-alive,"
    "te"
    "close;a"
    "\"close\""
    "keepalive"
|]

let private oddSeparators = [| ""; " :"; "\t:"; "="; ";"; "::"; ":\r\n "; " : "; ":\r"; ":\n" |]
let private oddLineEnds = [| "\n"; "\r"; "\n\r"; "\r\r\n"; ""; " \r\n"; "\t\r\n"; "\r \n"; "\000\r\n" |]

[<NoEquality; NoComparison>]
type private Line = {
    Name: string
    Separator: string
    Value: string
    Padding: string
    End: string
}

[<NoEquality; NoComparison>]
type private Sketch = {
    Method: string
    AfterMethod: string
    Target: string
    AfterTarget: string
    Version: string
    FirstEnd: string
    Lines: ResizeArray<Line>
    End: string
}

let private spelt (random: Random) (name: string) =
    match random.Next 8 with
    | 0 -> name.ToUpperInvariant()
    | 1
    | 2 -> name.ToLowerInvariant()
    | 3 -> String.map (fun c -> if random.Next 2 = 0 then Char.ToUpperInvariant c else c) name
    | _ -> name

let private padding (random: Random) =
    match random.Next 8 with
    | 0 -> ""
    | 1 -> "  "
    | 2 -> "\t"
    | 3 -> " \t \t"
    | _ -> " "

let private line (random: Random) name value = {
    Name = name
    Separator = ":" + padding random
    Value = value
    Padding = if random.Next 8 = 0 then padding random else ""
    End = "\r\n"
}

let private anyValue (random: Random) =
    match random.Next 6 with
    | 0 -> pick random values + pick random values
    | 1
    | 2 -> textOf random visible 60
    | 3 -> textOf random (visible + " \t") 20
    | _ -> pick random values

let private anyName (random: Random) =
    match random.Next 6 with
    | 0 -> textOf random tokenCharacters 20
    | _ -> spelt random (pick random names)

let private anyTarget (random: Random) =
    match random.Next 6 with
    | 0
    | 1 ->
        "/"
        + textOf random "abcXYZ0123456789-._~!$&'()*+,;=:@/?[]" (if random.Next 50 = 0 then 300 else 40)
    | 2 ->
        "/"
        + String.init (random.Next 6) (fun _ -> $"%%{random.Next 256:X2}" + textOf random "ab/?" 2)
    | 3 -> pick random targets + "?" + textOf random visible 20
    | _ -> pick random targets

let private plainSketch (random: Random) : Sketch =
    let lines = ResizeArray()

    let count =
        match random.Next 200 with
        | 0 -> random.Next 120
        | 1 -> 0
        | _ -> random.Next 9

    for _ in 1..count do
        lines.Add(line random (anyName random) (anyValue random))

    let insert entry =
        lines.Insert(random.Next(lines.Count + 1), entry)

    insert (line random (spelt random "Host") (pick random hosts))

    if random.Next 2 = 0 then
        let length =
            match random.Next 400 with
            | 0 -> string (random.NextInt64 1_000_000_000_000_000L)
            | n when n < 100 -> "0"
            | n -> string (n % 40)

        insert (line random (spelt random "Content-Length") length)

    if random.Next 3 = 0 then
        let value =
            if random.Next 8 = 0 then
                pick random connections
            else
                pick random [| "keep-alive"; "Keep-Alive" |]

        insert (line random (spelt random "Connection") value)

    {
        Method = pick random methods
        AfterMethod = " "
        Target = anyTarget random
        AfterTarget = " "
        Version = "HTTP/1.1"
        FirstEnd = "\r\n"
        Lines = lines
        End = "\r\n"
    }

// One thing that is not as it should be, or nearly not.
let private twist (random: Random) (sketch: Sketch) : Sketch =
    let lines = sketch.Lines
    let at = random.Next(lines.Count + 1)

    let change (what: Line -> Line) =
        if at < lines.Count then
            lines[at] <- what lines[at]

        sketch

    let insert name value =
        lines.Insert(at, line random name value)
        sketch

    let replace name value =
        lines.RemoveAll(fun line -> line.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        |> ignore

        lines.Insert(min at lines.Count, line random (spelt random name) value)
        sketch

    let remove name =
        lines.RemoveAll(fun line -> line.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        |> ignore

        sketch

    match random.Next 26 with
    | 0 -> {
        sketch with
            Method = pick random oddMethods
      }
    | 1 -> {
        sketch with
            AfterMethod = pick random [| ""; "  "; "\t"; " \t"; "\r\n"; "\000" |]
      }
    | 2
    | 3 -> {
        sketch with
            Target = pick random oddTargets
      }
    | 4 -> {
        sketch with
            AfterTarget = pick random [| ""; "  "; "\t"; "\r\n"; " /" |]
      }
    | 5 -> {
        sketch with
            Version = pick random versions
      }
    | 6 -> {
        sketch with
            FirstEnd = pick random oddLineEnds
      }
    | 7 -> {
        sketch with
            End = pick random oddLineEnds
      }
    | 8 ->
        change (fun line -> {
            line with
                Name = pick random oddNames
        })
    | 9 ->
        change (fun line -> {
            line with
                Value = pick random oddValues
        })
    | 10 ->
        change (fun line -> {
            line with
                Separator = pick random oddSeparators
        })
    | 11 ->
        change (fun line -> {
            line with
                End = pick random oddLineEnds
        })
    | 12 -> replace "Host" (pick random oddHosts)
    | 13 -> insert (spelt random "Host") (pick random hosts)
    | 14 -> remove "Host"
    | 15 -> replace "Content-Length" (pick random oddLengths)
    | 16 -> insert (spelt random "Content-Length") (pick random [| "0"; "1"; "5" |])
    | 17 -> replace "Connection" (pick random oddConnections)
    | 18 -> insert (spelt random "Connection") (pick random connections)
    | 19 -> insert (spelt random (pick random reservedNames)) (anyValue random)
    | 20 ->
        insert
            (spelt random "Transfer-Encoding")
            (pick random [| "chunked"; "identity"; "gzip, chunked"; "Chunked"; "" |])
    | 21 -> insert (spelt random "Expect") (pick random [| "100-continue"; "x"; "" |])
    | 22 ->
        let name = anyName random

        for _ in 1 .. 1 + random.Next 4 do
            lines.Insert(random.Next(lines.Count + 1), line random (spelt random name) (anyValue random))

        sketch
    | 23 -> insert (pick random oddNames) (anyValue random)
    | 24 -> remove "Content-Length"
    | _ ->
        // Where blocks of memory end, and where a head is too large.
        insert "X-Long" (String('x', random.Next [| 100; 4096; 20000 |].[random.Next 3]))

let private render (sketch: Sketch) : byte[] =
    let text = StringBuilder()

    text
        .Append(sketch.Method)
        .Append(sketch.AfterMethod)
        .Append(sketch.Target)
        .Append(sketch.AfterTarget)
        .Append(sketch.Version)
        .Append(sketch.FirstEnd)
    |> ignore

    for line in sketch.Lines do
        text.Append(line.Name).Append(line.Separator).Append(line.Value).Append(line.Padding).Append(line.End)
        |> ignore

    text.Append sketch.End |> ignore
    Encoding.Latin1.GetBytes(text.ToString())

// What matters to a reader is likelier than chance would have it.
let private likely =
    "\r\n\t :;,/?%#=\"0123456789abcdefABCDEFHTTP/1.1chunkedclose\000\127\\"B

let private spoil (random: Random) (head: byte[]) : byte[] =
    let bytes = ResizeArray head

    let anyByte () =
        if random.Next 4 = 0 then
            byte (random.Next 256)
        else
            likely[random.Next likely.Length]

    for _ in 0 .. random.Next 3 do
        let place = random.Next(bytes.Count + 1)

        match random.Next 5 with
        | 0 when place < bytes.Count -> bytes[place] <- anyByte ()
        | 1 -> bytes.Insert(place, anyByte ())
        | 2 when place < bytes.Count ->
            bytes.RemoveRange(place, min (1 + random.Next 5) (bytes.Count - place))
        // The other case of a letter, and what is taken for it by readers that only look at some bits.
        | 3 when place < bytes.Count -> bytes[place] <- bytes[place] ^^^ (1uy <<< random.Next 8)
        | _ when place < bytes.Count ->
            bytes.InsertRange(place, bytes.GetRange(place, min (1 + random.Next 20) (bytes.Count - place)))
        | _ -> ()

    bytes.ToArray()

/// A head, with nothing after it that it does not bring along itself.
let make (random: Random) : byte[] =
    let sketch = plainSketch random

    match random.Next 10 with
    | 0
    | 1
    | 2
    | 3 -> render sketch
    | 4
    | 5
    | 6 -> render (twist random sketch)
    | 7 -> render (twist random (twist random sketch))
    | _ -> spoil random (render sketch)
