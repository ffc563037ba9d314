/// `k8sreq receive`
module K8sReq.Host.Arguments.ReceiveReader

open System
open System.CommandLine
open K8sReq.Core

let private addr =
    Flag<ListenAddress>(
        "--addr",
        "[HOST]:PORT",
        "[HOST]:PORT, such as :9001",
        "Address to listen on (default: :9001).",
        ListenAddress.tryParse
    )

let private name =
    Flag.text "--name" "NAME" "any text" "What to call it in what is printed (default: receiver)."

let private status =
    Flag<int>(
        "--status",
        "CODE",
        "a status code from 200 to 599",
        "Status code of the responses (default: 200).",
        fun text -> Setting.tryInteger 200L 599L text |> Option.map int
    )

let private delay =
    Flag<TimeSpan>(
        "--delay",
        "DURATION",
        "a duration such as 5s or 500ms",
        "Wait before each response (default: 0s).",
        Setting.tryDelay
    )

let private failEvery =
    Flag<int>(
        "--fail-every",
        "N",
        "a number from 1",
        "Only every Nth response has --status (then 500 by default); the others are 200.",
        Setting.tryCount Int32.MaxValue
    )

let private read (result: ParseResult) : Result<Command, string list> =
    let failEvery = Flag.tryGet failEvery result

    Ok(
        Command.Receive {
            Addr = Flag.orElse { Host = ListenHost.Any; Port = 9001 } addr result
            Name = Flag.orElse "receiver" name result
            Status = Flag.orElse (if failEvery.IsSome then 500 else 200) status result
            Delay = Flag.orElse TimeSpan.Zero delay result
            FailEvery = failEvery
        }
    )

let reader: CommandReader =
    CommandReader.create
        "receive"
        "Receive requests and print them, to try things out."
        [ addr; name; status; delay; failEvery ]
        [
            "receive --addr :9001 --name app-1"
            "receive --status 500"
            "receive --delay 5s --fail-every 3"
        ]
        read
