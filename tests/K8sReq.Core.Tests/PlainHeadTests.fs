module K8sReq.Core.Tests.PlainHeadTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core

let private bytes (text: string) = Encoding.Latin1.GetBytes text

let private readBytes (received: byte[]) = PlainHead.read (ReadOnlySpan received)
let private read (text: string) = readBytes (bytes text)

let private plain (text: string) : PlainHead =
    match read text with
    | PlainReading.Plain plain -> plain
    | PlainReading.NotPlain oddity -> failtest $"not plain: {oddity}"
    | PlainReading.Incomplete -> failtest "incomplete"

let private isIncomplete reading =
    match reading with
    | PlainReading.Incomplete -> true
    | PlainReading.NotPlain _
    | PlainReading.Plain _ -> false

let private tryOddity reading =
    match reading with
    | PlainReading.NotPlain oddity -> Some oddity
    | PlainReading.Incomplete
    | PlainReading.Plain _ -> None

let private linesOf (head: PlainHead) =
    head.Head.Lines
    |> Array.map (fun (struct (name, value)) -> name, value)
    |> List.ofArray

let private withLines (lines: string) =
    $"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"

/// All that a reading says, to be compared.
let private meaning reading =
    match reading with
    | PlainReading.Incomplete -> None
    | PlainReading.NotPlain _ -> None
    | PlainReading.Plain plain ->
        Some(
            (plain.Head.Method, plain.Head.Target, plain.Head.Host, plain.Head.IsHttp10),
            linesOf plain,
            (plain.Length, plain.ContentLength, plain.ClosesAfter)
        )

let private webhook =
    "POST /hooks?source=x HTTP/1.1\r\n\
     Host: a.example:8080\r\n\
     user-agent: GitHub-Hookshot/044aadd\r\n\
     Content-Length:  12 \r\n\
     X-GITHUB-event: issues\r\n\
     Connection: Keep-Alive\r\n\
     X-A:\t1\t2 \t\r\n\
     X-Empty:\r\n\
     x-a: 3\r\n\
     \r\n"

let private odd: (string * string * Oddity) list = [
    "a method in small letters", "get / HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Start
    "another method", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Start
    "an empty line before it", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Start
    "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Oddity.Start
    "an absolute target", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Start
    "an asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Start
    "two spaces after the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Start
    "a null character that is escaped", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Target
    "half an escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Target
    "a byte above 127 in the target", "GET /\228 HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Target
    "a fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Target
    "a backslash", "GET /\\ HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Target
    "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Oddity.Version
    "no version", "GET /\r\nHost: a\r\n\r\n", Oddity.Target
    "HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", Oddity.Version
    "a line feed alone after the version", "GET / HTTP/1.1\nHost: a\r\n\r\n", Oddity.Version
    "a line feed alone after a header", withLines "X-A: 1\nX-B: 2\r\n", Oddity.Line
    "a carriage return alone", withLines "X-A: 1\r2\r\n", Oddity.Line
    "a line that goes on", withLines "X-A: 1\r\n 2\r\n", Oddity.Line
    "a space before the colon", withLines "X-A : 1\r\n", Oddity.Line
    "no colon", withLines "X-A\r\n", Oddity.Line
    "no name", withLines ": 1\r\n", Oddity.Line
    "a name of HTTP/2", withLines ":path: /\r\n", Oddity.Line
    "a control character in a value", withLines "X-A: 1\0002\r\n", Oddity.Line
    "a byte above 127 in a value", withLines "X-A: \228\r\n", Oddity.Line
    "no Host", "GET / HTTP/1.1\r\nX-A: 1\r\n\r\n", Oddity.Host
    "two Hosts", withLines "host: a\r\n", Oddity.Host
    "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Oddity.Host
    "a Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", Oddity.Host
    "a Host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Oddity.Host
    "a port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", Oddity.Host
    "a length with a sign", withLines "Content-Length: +1\r\n", Oddity.ContentLength
    "no length", withLines "Content-Length:\r\n", Oddity.ContentLength
    "a length with a zero before it", withLines "Content-Length: 01\r\n", Oddity.ContentLength
    "a list of lengths", withLines "Content-Length: 1, 1\r\n", Oddity.ContentLength
    "two lengths that are the same",
    withLines "Content-Length: 1\r\ncontent-length: 1\r\n",
    Oddity.ContentLength
    "a length of 16 digits", withLines "Content-Length: 1234567890123456\r\n", Oddity.ContentLength
    "two Connections", withLines "Connection: close\r\nConnection: close\r\n", Oddity.Connection
    "a Connection with other options", withLines "Connection: close, X-A\r\n", Oddity.Connection
    "a transfer coding", withLines "transfer-encoding: chunked\r\n", Oddity.Reserved
    "the header that a server renames a length to", withLines "X-Content-Length: 1\r\n", Oddity.Reserved
    "an expectation", withLines "Expect: 100-continue\r\n", Oddity.Reserved
    "an upgrade", withLines "Upgrade: websocket\r\n", Oddity.Reserved
    "101 headers", withLines (String.replicate 100 "X-A: 1\r\n"), Oddity.TooLarge
    "17 KiB", withLines ("X-A: " + String('x', 17 * 1024) + "\r\n"), Oddity.TooLarge
]

// What a head is made of, plain or not.
let private pieces =
    Gen.elements [
        "Host: a\r\n"
        "host: b.example:80\r\n"
        "X-A: 1\r\n"
        "x-a:\t\r\n"
        "Content-Length: 5\r\n"
        "Content-Length: 0\r\n"
        "Connection: close\r\n"
        "Connection: keep-alive\r\n"
        "Accept: */*\r\n"
    ]

let private starts =
    Gen.elements [
        "GET / HTTP/1.1\r\n"
        "POST /a?b=%41 HTTP/1.1\r\n"
        "DELETE /a/../b HTTP/1.1\r\n"
    ]

let private heads =
    Gen.zip starts (Gen.listOf pieces)
    |> Gen.map (fun (start, lines) -> start + String.concat "" lines + "\r\n")

let private plainHeads =
    heads |> Gen.filter (fun head -> (meaning (read head)).IsSome)

let private anyBytes = Gen.choose (0, 255) |> Gen.map byte |> Gen.arrayOf

let tests =
    testList "PlainHead" [
        test "a webhook is read, its names as they are spelt and its lines in their order" {
            let head = plain webhook

            Expect.equal head.Head.Method "POST" "method"
            Expect.equal head.Head.Target "/hooks?source=x" "target"
            Expect.equal head.Head.Host "a.example:8080" "host"
            Expect.isFalse head.Head.IsHttp10 "version"
            Expect.equal head.Length webhook.Length "length"
            Expect.equal head.ContentLength (ValueSome 12L) "content length"
            Expect.isFalse head.ClosesAfter "keep-alive"

            Expect.equal
                (linesOf head)
                [
                    "Host", "a.example:8080"
                    "user-agent", "GitHub-Hookshot/044aadd"
                    "Content-Length", "12"
                    "X-GITHUB-event", "issues"
                    "Connection", "keep-alive"
                    "X-A", "1\t2"
                    "X-Empty", ""
                    "x-a", "3"
                ]
                "lines"
        }

        test "a head without Content-Length has no body, whatever its method" {
            Expect.equal
                (plain "POST / HTTP/1.1\r\nHost: a\r\n\r\n").ContentLength
                ValueNone
                "as the server reads it"
        }

        test "every usual method is read" {
            for method in [ "GET"; "HEAD"; "POST"; "PUT"; "PATCH"; "DELETE"; "OPTIONS" ] do
                Expect.equal (plain $"{method} / HTTP/1.1\r\nHost: a\r\n\r\n").Head.Method method method
        }

        test "close is read in any case" {
            Expect.isTrue (plain (withLines "connection: CLOSE\r\n")).ClosesAfter "CLOSE"
        }

        test "names that many requests have are the same strings each time, in both spellings" {
            for name in [ "Host"; "host"; "X-GitHub-Event"; "x-github-event"; "traceparent" ] do
                let once = HeaderNames.ofBytes (ReadOnlySpan(bytes name))
                let twice = HeaderNames.ofBytes (ReadOnlySpan(bytes name))
                Expect.equal once name "its letters"
                Expect.isTrue (Object.ReferenceEquals(once, twice)) name
        }

        test "100 headers and 16 KiB are plain" {
            let lines = String.replicate 98 "X-A: 1\r\n"
            let filling = PlainHead.Longest - (withLines (lines + "X-B: \r\n")).Length
            let head = withLines $"{lines}X-B: {String('x', filling)}\r\n"
            Expect.equal head.Length PlainHead.Longest "as large as they are"
            Expect.equal (plain head).Head.Lines.Length 100 "lines"
        }

        for what, head, oddity in odd do
            test $"{what} is left to the server" { Expect.equal (tryOddity (read head)) (Some oddity) head }

        test "what cannot become plain is known by its first bytes" {
            for first in [ "\022\003\001"; "PRI"; "\r"; "g"; "GET  "; "GETT"; "GET *"; "GET h" ] do
                Expect.equal (tryOddity (read first)) (Some Oddity.Start) first
        }

        test "what cannot become plain is known by its first odd line, before it is whole" {
            for beginning in
                [
                    "GET / HTTP/1.0\r\n"
                    "GET / HTTP/1.1\n"
                    "GET / HTTP/1.1\r\nHost : a\r\n"
                    "GET / HTTP/1.1\r\nHost: a\n\n"
                    "GET / HTTP/1.1\r\nExpect: 100-continue\r\nX"
                ] do
                Expect.isSome (tryOddity (read beginning)) beginning
        }

        test "nothing at all is incomplete" { Expect.isTrue (isIncomplete (read "")) "no bytes" }

        testProperty "every beginning of a plain head is incomplete"
        <| Prop.forAll (Arb.fromGen plainHeads) (fun head ->
            Seq.forall (fun length -> isIncomplete (read (head.Substring(0, length)))) [
                0 .. head.Length - 1
            ])

        testProperty "the head before changes nothing"
        <| Prop.forAll (Arb.fromGen (Gen.zip plainHeads heads)) (fun (before, head) ->
            let after = PlainHead.readAfter (plain before).Head (ReadOnlySpan(bytes head))
            meaning after = meaning (read head))

        test "texts that are the same as before are the same strings" {
            let before = (plain webhook).Head

            match PlainHead.readAfter before (ReadOnlySpan(bytes (webhook.Replace("issues", "status")))) with
            | PlainReading.Plain plain ->
                let same =
                    Array.map2
                        (fun (struct (name: string, value: string)) (struct (nameBefore, valueBefore)) ->
                            Object.ReferenceEquals(name, nameBefore),
                            Object.ReferenceEquals(value, valueBefore))
                        plain.Head.Lines
                        before.Lines
                    |> List.ofArray

                Expect.equal same [ for line in 0..7 -> true, line <> 3 ] "all but the event"
                Expect.equal (linesOf plain |> List.item 3 |> snd) "status" "which is another one"
                Expect.isTrue (Object.ReferenceEquals(plain.Head.Target, before.Target)) "target"
            | _ -> failtest "not plain"
        }

        testProperty "what comes after a head changes nothing"
        <| Prop.forAll (Arb.fromGen (Gen.zip heads anyBytes)) (fun (head, after) ->
            meaning (readBytes (Array.append (bytes head) after)) = meaning (read head))

        testProperty "a plain head passes admission and has values that can be copied"
        <| Prop.forAll (Arb.fromGen plainHeads) (fun head ->
            let read = (plain head).Head
            (Admission.check read).IsNone && (Admission.checkRouted "k8sreq" read).IsNone)

        testProperty "a plain head has one Host, at most one length, and a length only if it says so"
        <| Prop.forAll (Arb.fromGen heads) (fun head ->
            let count (part: string) =
                head.Split("\r\n")
                |> Array.filter (fun line -> line.StartsWith(part, StringComparison.OrdinalIgnoreCase))
                |> Array.length

            let isRight =
                count "host:" = 1 && count "content-length:" <= 1 && count "connection:" <= 1

            match meaning (read head) with
            | Some(_, _, (_, length, closes)) ->
                isRight
                && length.IsSome = (count "content-length:" = 1)
                && closes = head.Contains "close"
            | None -> not isRight)

        test
            "a byte that is changed never makes a head with another end, another length or another host, unless it is theirs" {
            let original = bytes webhook
            let before = plain webhook

            let positionOf (text: string) =
                webhook.IndexOf(text, StringComparison.Ordinal)

            let host, hostEnd = positionOf "Host:", positionOf "user-agent"
            let length, lengthEnd = positionOf "Content-Length", positionOf "X-GITHUB"
            let connection, connectionEnd = positionOf "Connection", positionOf "X-A:"
            let mutable plainOnes = 0

            for index in 0 .. original.Length - 1 do
                for value in 0..255 do
                    let changed = Array.copy original
                    changed[index] <- byte value

                    match readBytes changed with
                    | PlainReading.Plain after ->
                        plainOnes <- plainOnes + 1
                        let isWithin first last = index >= first && index < last
                        Expect.equal after.Length before.Length $"end, {index} {value}"
                        Expect.equal after.Head.Method before.Head.Method $"method, {index} {value}"

                        if not (isWithin host hostEnd) then
                            Expect.equal after.Head.Host before.Head.Host $"host, {index} {value}"

                        if not (isWithin length lengthEnd) then
                            Expect.equal after.ContentLength before.ContentLength $"length, {index} {value}"

                        if not (isWithin connection connectionEnd) then
                            Expect.equal after.ClosesAfter before.ClosesAfter $"close, {index} {value}"
                    | PlainReading.Incomplete ->
                        Expect.isTrue (index >= original.Length - 4) $"{index} {value}"
                    | PlainReading.NotPlain _ -> ()

            Expect.isGreaterThan plainOnes 1000 "many of them are plain"
        }

        testProperty "any bytes are read without an exception, and within their bounds"
        <| Prop.forAll (Arb.fromGen (Gen.zip heads anyBytes)) (fun (head, noise) ->
            let mixed = bytes head

            noise
            |> Array.iteri (fun index value -> mixed[(index * 31 + int value) % mixed.Length] <- value)

            match readBytes mixed with
            | PlainReading.Plain plain -> plain.Length <= mixed.Length
            | PlainReading.Incomplete
            | PlainReading.NotPlain _ -> true)
    ]
