/// Reads the program's arguments.
module K8sReq.Host.Arguments.CommandLine

open System
open System.CommandLine
open System.CommandLine.Help
open System.CommandLine.Parsing
open System.IO
open FsToolkit.ErrorHandling
open K8sReq.Core

let private readSettings environment (arguments: string list) : Result<Settings, string list> =
    Settings.parse environment arguments
    |> Result.mapError (List.map Settings.describeError)

let private readers environment : CommandReader list = [
    CheckReader.reader
    SendReader.reader
    ReceiveReader.reader
    TapReader.reader
    DoctorReader.reader (readSettings environment)
    DeadReader.reader
    JournalReader.reader
    CompletionReader.reader
    VersionReader.reader
]

let private rootExamples = [
    "                       # the proxy, routes from the cluster"
    "--manifests DIR       # the proxy, routes from a folder"
    "check DIR              # is anything wrong with these manifests?"
    "tap --failed           # which copies are not delivered?"
    "help dead              # more about a command"
]

let private settingFlag (spec: SettingSpec) : Option =
    let byDefault =
        if spec.Default = "" then
            ""
        else
            $", default {spec.Default}"

    let help = string (Char.ToUpperInvariant spec.Help[0]) + spec.Help.Substring 1

    Option<string>(
        SettingSpec.flag spec,
        Array.empty<string>,
        HelpName = "VALUE",
        Description = $"{help}: {spec.Accepted} ({SettingSpec.variable spec}{byDefault}).",
        Arity =
            if spec.IsSwitch then
                ArgumentArity.ZeroOrOne
            else
                ArgumentArity.ExactlyOne
    )

let private root (readers: CommandReader list) : RootCommand =
    let root =
        RootCommand(
            "Duplicates HTTP requests: answers 202 and sends a copy to every target whose host matches. Without a command it is the proxy; each of its settings is a flag or an environment variable, and a flag wins."
        )

    root.SetAction(Func<ParseResult, int>(fun _ -> 0))
    let examples = CommandReader.all readers

    let examplesOf (syntax: Syntax) =
        match
            examples
            |> List.tryFind (fun reader -> Object.ReferenceEquals(reader.Syntax, syntax))
        with
        | Some reader -> reader.Examples
        | None -> rootExamples

    for flag in List.ofSeq root.Options do
        match flag with
        | :? HelpOption as help ->
            help.Description <- "Show help, also of a command."
            help.Action <- HelpText examplesOf
        | :? VersionOption -> root.Options.Remove flag |> ignore
        | _ -> ()

    for spec in KnownSettings.specs do
        root.Add(settingFlag spec)

    root.Add(Option<bool>("--version", Array.empty<string>, Description = "Print the version."))

    for reader in readers do
        root.Add reader.Syntax

    root

// Files of arguments (@FILE) are not read: a path or a text may begin so.
let private configuration = ParserConfiguration(ResponseFileTokenReplacer = null)

let private didYouMean (names: string seq) (given: string) : string =
    match NearestName.tryFind names given with
    | Some nearest -> $" (did you mean {nearest}?)"
    | None -> ""

let private flagsOf (syntax: Syntax) =
    syntax.Options |> Seq.filter (fun flag -> not flag.Hidden) |> Seq.map _.Name

// A word that nothing was found for.
let private unknown (syntax: Syntax) (word: string) : string =
    if word.StartsWith '-' then
        let flag = word.Split('=')[0]
        $"unknown flag {flag}{didYouMean (flagsOf syntax) flag}"
    elif syntax.Subcommands.Count > 0 then
        let names = syntax.Subcommands |> Seq.map _.Name
        $"unknown command \"{word}\"{didYouMean names word}"
    else
        $"unexpected argument \"{word}\""

// A flag that the command does not have is taken for one of its arguments.
let private strayFlags (result: ParseResult) : string list = [
    for child in result.CommandResult.Children do
        match child with
        | :? ArgumentResult as argument when argument.Argument.Name <> DoctorReader.settingsName ->
            for token in argument.Tokens do
                if token.Value.StartsWith("--", StringComparison.Ordinal) then
                    unknown result.CommandResult.Command token.Value
        | _ -> ()
]

let private describe (error: ParseError) : string =
    match error.SymbolResult with
    | :? OptionResult as flag when flag.Tokens.Count = 0 ->
        match box flag.Option with
        | :? IAccepting as accepting -> $"{flag.Option.Name} has no value; accepted is {accepting.Accepted}"
        | _ -> error.Message
    | :? ArgumentResult as argument when argument.Tokens.Count = 0 ->
        $"{argument.Argument.Name} is missing: {argument.Argument.Description}"
    | _ -> error.Message

let private problems (result: ParseResult) : string list =
    let syntax = result.CommandResult.Command

    let ofWords = [
        yield! strayFlags result

        for word in result.UnmatchedTokens do
            unknown syntax word
    ]

    let isOfWord (error: ParseError) =
        result.UnmatchedTokens
        |> Seq.exists (fun word -> error.Message.Contains $"'{word}'")

    let ofValues = [
        for error in result.Errors do
            if not (isOfWord error) then
                describe error
    ]

    match ofWords with
    // What comes after a command that is wrong may belong to the right one.
    | first :: _ when syntax.Subcommands.Count > 0 -> [ first ]
    // A group without a command below it: its reader says which there are.
    | [] when syntax.Subcommands.Count > 0 -> []
    | _ -> List.distinct (ofWords @ ofValues)

// What the library prints by itself: help, and what a shell may complete.
let private tryPrint (result: ParseResult) : Command option =
    let isSuggestion =
        result.Tokens |> Seq.exists (fun token -> token.Type = TokenType.Directive)

    if isSuggestion || result.Action :? HelpText then
        use output = new StringWriter()
        result.Invoke(InvocationConfiguration(Output = output)) |> ignore
        Some(Command.Print(output.ToString()))
    else
        None

let private readSyntax environment (arguments: string list) : Result<Command, string list> =
    let readers = readers environment
    let result = (root readers).Parse(Array.ofList arguments, configuration)

    match tryPrint result, problems result with
    | Some command, _ -> Ok command
    | None, (_ :: _ as problems) -> Error problems
    | None, [] ->
        let syntax = result.CommandResult.Command

        // A first word that is none of them is among the problems.
        let reader =
            CommandReader.all readers
            |> List.find (fun reader -> Object.ReferenceEquals(reader.Syntax, syntax))

        reader.Read result

let private asksForHelp (arguments: string list) =
    arguments
    |> List.exists (fun argument -> argument = "--help" || argument = "-h")

/// Reads the program's arguments; the environment matters to the proxy and to `doctor`. Fails with all that is wrong, each in a
/// line.
let rec parse (environment: Map<string, string>) (arguments: string list) : Result<Command, string list> =
    match arguments with
    | "help" :: rest -> parse environment (rest @ [ "--help" ])
    | [ "--version" ] -> Ok(Command.Version false)
    | first :: _ when not (first.StartsWith '-') -> readSyntax environment arguments
    | _ when asksForHelp arguments -> readSyntax environment [ "--help" ]
    // Its flags are read with the variables, so that everything that is wrong is reported at once.
    | _ -> readSettings environment arguments |> Result.map Command.Serve
