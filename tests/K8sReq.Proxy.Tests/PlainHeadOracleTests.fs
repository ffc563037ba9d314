/// Plain heads against what the server makes of the same bytes; `fuzz` does the same with ten million.
module K8sReq.Proxy.Tests.PlainHeadOracleTests

open System
open System.Text
open Expecto
open K8sReq.Core
open K8sReq.Fuzz
open K8sReq.Fuzz.HeadChecks

let private run reader count seed =
    HeadChecks.run reader 1 count seed ignore

// Reads the bytes as if this text stood in them instead of another one of the same length.
let private insteadOf (text: string) (other: string) =
    HeadReader(fun _ received ->
        let seen = Encoding.Latin1.GetString received
        let changed = seen.Replace(text, other, StringComparison.OrdinalIgnoreCase)
        PlainHead.read (ReadOnlySpan(Encoding.Latin1.GetBytes changed)))

let private changing (change: PlainHead -> PlainHead) =
    HeadReader(fun before received ->
        match PlainHead.readAfter before received with
        | PlainReading.Plain plain -> PlainReading.Plain(change plain)
        | other -> other)

let private faulty = [
    "it reads another method",
    changing (fun plain -> {
        plain with
            Head = { plain.Head with Method = "PUT" }
    })
    "it takes HTTP/1.0 for HTTP/1.1", insteadOf "HTTP/1.0" "HTTP/1.1"
    "it does not know Content-Length", insteadOf "Content-Length" "Content-Lengtx"
    "it does not know Transfer-Encoding", insteadOf "Transfer-Encoding" "Transfer-Encodinx"
    "it does not know Upgrade", insteadOf "Connection" "Connectiox"
    "it takes a control character", insteadOf "\000" "x"
    "it takes a space before the colon", insteadOf " :" "x:"
    "it takes an odd host", insteadOf "@" "x"
    "it takes a line feed alone", insteadOf "a\nb" "axb"
    "it never closes", changing (fun plain -> { plain with ClosesAfter = false })
    "it loses the last line",
    changing (fun plain -> {
        plain with
            Head = {
                plain.Head with
                    Lines = Array.take (plain.Head.Lines.Length - 1) plain.Head.Lines
            }
    })
    "it changes the order of lines",
    changing (fun plain -> {
        plain with
            Head = {
                plain.Head with
                    Lines = Array.rev plain.Head.Lines
            }
    })
]

let tests =
    testList "PlainHead beside the server" [
        test "20,000 heads are read as the server reads them, and many of each kind are met" {
            let tally = run HeadChecks.plain 20_000 1

            for what, atLeast in
                [
                    "plain", 7000L
                    "incomplete", 50L
                    "not plain: start", 500L
                    "not plain: target", 500L
                    "not plain: version", 500L
                    "not plain: line", 500L
                    "not plain: host", 300L
                    "not plain: content length", 100L
                    "not plain: connection", 100L
                    "not plain: reserved name", 300L
                    "not plain: too large", 5L
                ] do
                Expect.isGreaterThan (tally.Of what) atLeast what
        }

        test "so are others each time" {
            let seed = Random.Shared.Next(Int32.MaxValue / 2)

            try
                run HeadChecks.plain 20_000 seed |> ignore
            with error ->
                failtest $"seed {seed}: {error.Message}"
        }

        for what, reader in faulty do
            test $"a reader with a fault is found out: {what}" {
                Expect.throws (fun () -> run reader 20_000 1 |> ignore) what
            }
    ]
