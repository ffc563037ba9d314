namespace K8sReq.Host.Arguments

open System
open System.CommandLine
open K8sReq.Core

type Syntax = System.CommandLine.Command

/// A command of the program: how it is written, and what is asked by it.
[<NoEquality; NoComparison>]
type CommandReader = {
    Syntax: Syntax
    /// Command lines without the program's name.
    Examples: string list
    /// Given a line that is written as the syntax says. Fails with what is wrong with it, each in a line.
    Read: ParseResult -> Result<Command, string list>
    Below: CommandReader list
}

module CommandReader =
    /// `--output`: a table, or JSON.
    let output () : Flag<OutputFormat> =
        Flag.choice "--output" "FORMAT" "How to print it (default: table)" [
            "table", OutputFormat.Table
            "json", OutputFormat.Json
        ]

    /// Where the status page of a proxy is that runs with its default settings.
    let pageAddress = "http://127.0.0.1:9558"

    /// `--addr` of commands that ask a running proxy.
    let addr () : Flag<string> =
        Flag.address "--addr" $"Status page of the running proxy, STATUS_ADDR (default: {pageAddress})."

    /// A command that does something: its flags and arguments, and how it is read once they are right.
    let create
        (name: string)
        (help: string)
        (symbols: Symbol list)
        (examples: string list)
        (read: ParseResult -> Result<Command, string list>)
        : CommandReader =
        let syntax = Syntax(name, help)
        // A command without an action would ask for one below it.
        syntax.SetAction(Func<ParseResult, int>(fun _ -> 0))

        for symbol in symbols do
            match symbol with
            | :? Argument as argument -> syntax.Add argument
            | :? Option as flag -> syntax.Add flag
            | other -> invalidArg (nameof symbols) $"{other.Name} is neither a flag nor an argument"

        {
            Syntax = syntax
            Examples = examples
            Read = read
            Below = []
        }

    /// A command that is nothing without one of those below it.
    let group
        (name: string)
        (help: string)
        (examples: string list)
        (below: CommandReader list)
        : CommandReader =
        let syntax = Syntax(name, help)

        for reader in below do
            syntax.Add reader.Syntax

        let names = below |> List.map _.Syntax.Name |> String.concat ", "

        {
            Syntax = syntax
            Examples = examples
            Read = fun _ -> Error [ $"{name} needs a command: {names}" ]
            Below = below
        }

    /// With those below them.
    let rec all (readers: CommandReader list) : CommandReader list =
        readers |> List.collect (fun reader -> reader :: all reader.Below)
