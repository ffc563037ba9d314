/// Answers of targets: their heads and their bodies, however their bytes are split, and whatever they are.
module K8sReq.Core.Tests.AnswerTests

open System
open System.Text
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private bytes (text: string) = Encoding.Latin1.GetBytes text

let private read (text: string) =
    AnswerHead.read false (ReadOnlySpan(bytes text))

let private complete (text: string) =
    match read text with
    | HeadReading.Complete head -> head
    | other -> failtest $"{other}"

let private isNoHttp reading =
    match reading with
    | HeadReading.NoHttp _ -> true
    | HeadReading.Incomplete
    | HeadReading.Complete _ -> false

/// What a connection makes of an answer that comes in these pieces: its status, whether its body has ended, and how many
/// bytes came after it. None as long as the head is not whole.
let private receive (pieces: byte[] list) =
    let mutable head = ValueNone
    let mutable isBad = false
    let mutable kept: byte[] = [||]
    let mutable body = AnswerBody.start AnswerFraming.NoBody
    let mutable excess = 0

    let feed (bytes: byte[]) =
        let struct (next, taken) = AnswerBody.feed (ReadOnlySpan bytes) body
        body <- next
        excess <- excess + bytes.Length - taken

    for piece in pieces do
        if head.IsSome then
            feed piece
        elif not isBad then
            kept <- Array.append kept piece

            match AnswerHead.read false (ReadOnlySpan kept) with
            | HeadReading.Incomplete -> ()
            | HeadReading.NoHttp _ -> isBad <- true
            | HeadReading.Complete found ->
                head <- ValueSome found
                body <- AnswerBody.start found.Framing
                feed (Array.skip found.Length kept)

    match head with
    | ValueSome head -> Some(head.Status, head.KeepsAlive, body, excess), isBad
    | ValueNone -> None, isBad

let private answers =
    Gen.elements [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more"
        "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"
        "HTTP/1.1 200\nContent-Length: 0\n\n"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX-T: 1\r\n\r\n"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nrest"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
        "HTTP/1.0 500 Oops\r\n\r\nuntil it ends"
        "HTTP/1.1 503 Wait\r\nRetry-After: 7\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n"
        "SSH-2.0-OpenSSH_9.2p1\r\n"
    ]

let private cut (text: byte[]) (cuts: int list) =
    let places =
        cuts
        |> List.map (fun cut -> abs cut % (text.Length + 1))
        |> List.append [ 0; text.Length ]
        |> List.distinct
        |> List.sort

    List.pairwise places |> List.map (fun (first, last) -> text[first .. last - 1])

/// Bytes that look like an answer, with some of them changed.
let private nearAnswers = gen {
    let! answer = answers

    let! places =
        Gen.listOf (Gen.zip (Gen.choose (0, answer.Length - 1)) (Gen.choose (0, 255)))

    let changed = bytes answer

    for place, value in places do
        changed[place] <- byte value

    return changed
}

let private noise =
    Gen.choose (0, 255) |> Gen.map byte |> Gen.listOf |> Gen.map Array.ofList

let tests =
    testList "an answer" [
        testList "its head" [
            test "status, framing and what becomes of the connection" {
                for text, status, framing, keepsAlive in
                    [
                        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, AnswerFraming.Sized 5L, true
                        "HTTP/1.1 200\r\ncontent-length:\t5 \r\n\r\n", 200, AnswerFraming.Sized 5L, true
                        "HTTP/1.1 200 OK\nContent-Length: 5\n\n", 200, AnswerFraming.Sized 5L, true
                        "HTTP/1.1 299 x y z\r\nTransfer-Encoding: chunked\r\n\r\n",
                        299,
                        AnswerFraming.Chunked,
                        true
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n",
                        200,
                        AnswerFraming.Chunked,
                        true
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                        200,
                        AnswerFraming.UntilClose,
                        false
                        "HTTP/1.1 200 OK\r\n\r\n", 200, AnswerFraming.UntilClose, false
                        "HTTP/1.1 204 No\r\n\r\n", 204, AnswerFraming.NoBody, true
                        "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", 304, AnswerFraming.NoBody, true
                        "HTTP/1.1 100 Continue\r\n\r\n", 100, AnswerFraming.NoBody, true
                        "HTTP/1.1 101 Switching\r\n\r\n", 101, AnswerFraming.NoBody, false
                        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 200, AnswerFraming.Sized 5L, false
                        "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\n",
                        200,
                        AnswerFraming.Sized 5L,
                        false
                        "HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 5\r\n\r\n",
                        200,
                        AnswerFraming.Sized 5L,
                        false
                        "HTTP/1.1 200 OK\r\nX: a\r\n folded: b\r\nContent-Length: 5\r\n\r\n",
                        200,
                        AnswerFraming.Sized 5L,
                        true
                    ] do
                    let head = complete text

                    Expect.equal
                        (head.Status, head.Framing, head.KeepsAlive)
                        (status, framing, keepsAlive)
                        text

                    Expect.equal head.Length text.Length "all of it"
            }

            test
                "lengths that are none, that differ, or that stand beside a coding: the connection is not used again" {
                for fields in
                    [
                        "Content-Length: x\r\n"
                        "Content-Length: -1\r\n"
                        "Content-Length: \r\n"
                        "Content-Length: 99999999999999999999\r\n"
                        "Content-Length: 5\r\nContent-Length: 6\r\n"
                        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
                    ] do
                    Expect.isFalse (complete $"HTTP/1.1 200 OK\r\n{fields}\r\n").KeepsAlive fields

                let same =
                    complete "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"

                Expect.equal (same.Framing, same.KeepsAlive) (AnswerFraming.Sized 5L, true) "the same twice"
            }

            test "an answer to HEAD has no body" {
                match
                    AnswerHead.read true (ReadOnlySpan(bytes "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
                with
                | HeadReading.Complete head -> Expect.equal head.Framing AnswerFraming.NoBody "none"
                | other -> failtest $"{other}"
            }

            test "what is no HTTP is known as soon as can be" {
                for text in
                    [
                        "S"
                        "HTTP/2"
                        "HTTP/1.x 200 OK"
                        "HTTP/1.1  200 OK"
                        "HTTP/1.1 2O0 OK"
                        "HTTP/1.1 099 OK"
                        "HTTP/1.1 2000\r\n"
                        "HTTP/1.1 200 OK\r\nno field\r\n"
                        "HTTP/1.1 200 OK\r\n: x\r\n"
                        "HTTP/1.1 200 OK\r\nX: " + String('x', AnswerHead.Longest)
                    ] do
                    Expect.isTrue (isNoHttp (read text)) text

                for text in [ ""; "HTT"; "HTTP/1.1 20"; "HTTP/1.1 200 OK\r\nX: y\r\n" ] do
                    Expect.equal (read text) HeadReading.Incomplete text
            }

            test "when to come again" {
                let head =
                    complete "HTTP/1.1 503 No\r\nretry-after:  7 \r\nContent-Length: 0\r\n\r\n"

                Expect.equal head.RetryAfter "7" "as it stands there"
                Expect.isNull (complete "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").RetryAfter "nothing"
            }
        ]

        testList "its body" [
            for coded in
                [
                    "5\r\nhello\r\n0\r\n\r\n"
                    "5;x=y\r\nhello\r\n0\r\n\r\n"
                    "5 \r\nhello\r\n000\r\nA: b\r\nC: d\r\n\r\n"
                    "5\nhello\n0\n\n"
                    "1\r\nh\r\nA\r\n0123456789\r\n0\r\n\r\n"
                ] do
                test ("chunks: " + coded.Replace("\r\n", "|").Replace("\n", "/")) {
                    let struct (body, taken) =
                        AnswerBody.feed
                            (ReadOnlySpan(bytes (coded + "next")))
                            (AnswerBody.start AnswerFraming.Chunked)

                    Expect.equal
                        (body.Phase, taken)
                        (BodyPhase.Complete, coded.Length)
                        "to its end and no further"
                }

            test "chunks that are none" {
                for coded in
                    [
                        "x"
                        "\r\n"
                        "-1\r\n"
                        "5\r\nhelloX"
                        "5\r\nhello\r\r\n"
                        "1000000000000000\r\n"
                        ";\r\n"
                    ] do
                    let struct (body, _) =
                        AnswerBody.feed (ReadOnlySpan(bytes coded)) (AnswerBody.start AnswerFraming.Chunked)

                    Expect.equal body.Phase BodyPhase.Broken coded
            }
        ]

        property
            "any split of the bytes gives the same"
            (Prop.forAll
                (Arb.fromGen (Gen.zip nearAnswers (Gen.listOf (Gen.choose (0, 200)))))
                (fun (answer, cuts) ->
                    let whole, isBad = receive [ answer ]
                    let split, isBadSplit = receive (cut answer cuts)

                    (whole = split && isBad = isBadSplit)
                    |> Prop.classify whole.IsSome "an answer"
                    |> Prop.classify isBad "none"))

        property
            "no bytes make it throw, or take more than there are"
            (Prop.forAll (Arb.fromGen (Gen.oneof [ nearAnswers; noise ])) (fun bytes ->
                let headLength =
                    match AnswerHead.read false (ReadOnlySpan bytes) with
                    | HeadReading.Complete head -> head.Length
                    | HeadReading.Incomplete
                    | HeadReading.NoHttp _ -> 0

                let taken framing =
                    let struct (body, taken) =
                        AnswerBody.feed (ReadOnlySpan bytes) (AnswerBody.start framing)

                    taken <= bytes.Length
                    && (body.Phase = BodyPhase.Complete
                        || body.Phase = BodyPhase.Broken
                        || taken = bytes.Length)

                headLength <= bytes.Length
                && taken AnswerFraming.Chunked
                && taken (AnswerFraming.Sized 7L)
                && taken AnswerFraming.UntilClose))
    ]
