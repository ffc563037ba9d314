/// `k8sreq tap`
module K8sReq.Host.Arguments.TapReader

open System.CommandLine
open K8sReq.Core

let private addr = CommandReader.addr ()

let private host = Flag.text "--host" "HOST" "a host" "Only requests for this host."

// A name alone would be none of any RequestClone, and nothing would be shown.
let private clone =
    Flag<ObjectKey>(
        "--clone",
        "NAMESPACE/NAME",
        "NAMESPACE/NAME",
        "Only copies for this RequestClone.",
        ObjectKey.tryParse
    )

let private failed =
    Flag.switch "--failed" "Only copies that were not delivered, and requests that were refused."

let private paths =
    Flag.switch "--paths" "Show paths and queries, which may contain secrets."

let private output = CommandReader.output ()

let private read (result: ParseResult) : Result<Command, string list> =
    Ok(
        Command.Tap {
            Addr = Flag.orElse CommandReader.pageAddress addr result
            Host = Flag.tryGet host result
            Clone = Flag.tryGet clone result
            OnlyFailed = Flag.isSet failed result
            Paths = Flag.isSet paths result
            Output = Flag.orElse OutputFormat.Table output result
        }
    )

let reader: CommandReader =
    CommandReader.create
        "tap"
        "Show requests and copies as they happen, until Ctrl-C."
        [ host; clone; failed; paths; addr; output ]
        [
            "tap"
            "tap --host webhooks.example --failed"
            "tap --clone shop/ci --output json"
        ]
        read
