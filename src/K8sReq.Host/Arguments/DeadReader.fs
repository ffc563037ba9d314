/// `k8sreq dead`
module K8sReq.Host.Arguments.DeadReader

open System.CommandLine
open K8sReq.Core

let private time =
    "a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 2h"

let private addr = CommandReader.addr ()
let private output = CommandReader.output ()

let private outcome =
    let causes = DeadCause.all |> List.map DeadCause.name

    Flag.choice "--outcome" "OUTCOME" "Only those that ended so" [ for cause in causes -> cause, cause ]

// What the proxy understands itself: it is handed on as given.
let private filters: Flag<string> list = [
    Flag.text "--clone" "NAMESPACE/NAME" "NAMESPACE/NAME" "Only those of this RequestClone."
    outcome
    Flag.text "--since" "TIME" time $"Only those that ended at this time or later: {time}."
    Flag.text "--until" "TIME" time $"Only those that ended before this time: {time}."
    Flag.text "--id" "ID" "an id, such as 1234-0" "Only this one."
    Flag.text "--limit" "N" "a number from 1" "At most so many, the oldest first."
]

let private rate =
    Flag.text "--rate" "N" "copies a second, from 1" "Send at most so many a second."

let private dryRun = Flag.switch "--dry-run" "Only print how many it would be."
let private all = Flag.switch "--all" "All dead letters."

let private headers =
    Flag.switch "--headers" "Print the request's headers too. They may contain secrets."

let private body =
    Flag.switch "--body" "Print the request's body, byte for byte, and nothing else."

let private id =
    Argument<string>("ID", Description = "The id, as dead list prints it.")

let private symbols (flags: Flag<string> list) : Symbol list = flags |> List.map (fun flag -> flag)

let private fields (flags: Flag<string> list) (result: ParseResult) = [
    for flag in flags do
        match Flag.tryGet flag result with
        | Some value -> flag.Name.TrimStart '-', value
        | None -> ()
]

let private command action fields (result: ParseResult) : DeadCommand = {
    Action = action
    Addr = Flag.orElse CommandReader.pageAddress addr result
    Fields = fields
    IsDryRun = false
    IsAll = false
    Output = Flag.orElse OutputFormat.Table output result
}

let private list =
    CommandReader.create
        "list"
        "List dead letters, the oldest first."
        [ yield! symbols filters; addr; output ]
        [ "dead list --clone shop/ci --since 2h" ]
        (fun result -> Ok(Command.Dead(command DeadAction.List (fields filters result) result)))

let private show =
    CommandReader.create
        "show"
        "Show one dead letter."
        [ id; headers; body; addr; output ]
        [ "dead show 1000003-0 --headers"; "dead show 1000003-0 --body > body.bin" ]
        (fun result ->
            let action =
                DeadAction.Show(
                    result.GetRequiredValue id,
                    Flag.isSet headers result,
                    Flag.isSet body result
                )

            Ok(Command.Dead(command action [] result)))

// Without a word which, nothing is changed.
let private change action (flags: Flag<string> list) (result: ParseResult) : Result<Command, string list> =
    let isMeant (name: string, _) = name <> "limit" && name <> "rate"
    let fields = fields flags result
    let isAll = Flag.isSet all result

    if isAll || List.exists isMeant fields then
        Ok(
            Command.Dead {
                command action fields result with
                    IsAll = isAll
                    IsDryRun = Flag.isSet dryRun result
            }
        )
    else
        Error [
            "Which dead letters? For all of them: --all; else --clone, --outcome, --since, --until or --id"
        ]

let private replay =
    CommandReader.create
        "replay"
        "Send dead letters again; once they are delivered they are gone."
        [ yield! symbols filters; rate; all; dryRun; addr; output ]
        [ "dead replay --clone shop/ci --rate 50"; "dead replay --all --dry-run" ]
        (change DeadAction.Replay (filters @ [ rate ]))

let private drop =
    CommandReader.create
        "drop"
        "Remove dead letters for good."
        [ yield! symbols filters; all; dryRun; addr; output ]
        [ "dead drop --outcome refused --until 24h" ]
        (change DeadAction.Drop filters)

let reader: CommandReader =
    CommandReader.group "dead" "List, show, replay and drop dead letters: copies that failed for good." [
        "dead list --since 2h"
    ] [ list; show; replay; drop ]
