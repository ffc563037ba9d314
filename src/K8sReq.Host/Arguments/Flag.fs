// System.CommandLine's parsers may give null, also for values that have none: these here never do for a text that is accepted.
#nowarn "3261"

namespace K8sReq.Host.Arguments

open System
open System.CommandLine

/// A flag that says in words which values it takes.
type IAccepting =
    abstract Accepted: string

/// A flag with a value: a text that `tryParse` understands.
[<Sealed>]
type Flag<'T>
    (name: string, placeholder: string, accepted: string, help: string, tryParse: string -> 'T option) as flag
    =
    inherit Option<'T>(name, Array.empty<string>)

    do
        flag.HelpName <- placeholder
        flag.Description <- help
        flag.Arity <- ArgumentArity.ExactlyOne

        flag.CustomParser <-
            Func<_, _>(fun given ->
                let text = given.Tokens[0].Value

                match tryParse text with
                | Some value -> value
                | None ->
                    given.AddError $"{name} is \"{text}\"; accepted is {accepted}"
                    Unchecked.defaultof<'T>)

    interface IAccepting with
        member _.Accepted = accepted

/// A flag that may come several times.
[<Sealed>]
type ListFlag<'T>
    (
        name: string,
        aliases: string array,
        placeholder: string,
        accepted: string,
        help: string,
        tryParse: string -> 'T option
    ) as flag =
    inherit Option<'T list>(name, aliases)

    do
        flag.HelpName <- placeholder
        flag.Description <- help
        flag.Arity <- ArgumentArity.OneOrMore

        flag.CustomParser <-
            Func<_, _>(fun given -> [
                for token in given.Tokens do
                    match tryParse token.Value with
                    | Some value -> value
                    | None -> given.AddError $"{name} is \"{token.Value}\"; accepted is {accepted}"
            ])

    interface IAccepting with
        member _.Accepted = accepted

/// Makes flags, and reads what was given.
module Flag =
    /// A flag for one of a few words.
    let choice (name: string) (placeholder: string) (help: string) (words: (string * 'T) list) : Flag<'T> =
        let names = List.map fst words
        let accepted = String.Join(", ", names)

        let flag =
            Flag<'T>(
                name,
                placeholder,
                accepted,
                $"{help}: {accepted}.",
                fun text -> words |> List.tryFind (fun (word, _) -> word = text) |> Option.map snd
            )

        flag.CompletionSources.Add(Array.ofList names)
        flag

    /// A flag for any text.
    let text (name: string) (placeholder: string) (accepted: string) (help: string) : Flag<string> =
        Flag<string>(name, placeholder, accepted, help, Some)

    /// A flag that stands without a value.
    let switch (name: string) (help: string) : Option<bool> =
        Option<bool>(name, Array.empty<string>, Description = help)

    /// An address with its scheme.
    let address (name: string) (help: string) : Flag<string> =
        Flag<string>(
            name,
            "URL",
            "http://HOST:PORT",
            help,
            fun text ->
                match Uri.TryCreate(text, UriKind.Absolute) with
                | true, NonNull uri when uri.Scheme = "http" || uri.Scheme = "https" -> Some text
                | _ -> None
        )

    /// What was given, or else this.
    let orElse (byDefault: 'T) (flag: Option<'T>) (result: ParseResult) : 'T =
        match result.GetResult flag with
        | null -> byDefault
        | _ -> result.GetRequiredValue flag

    /// What was given, if it was.
    let tryGet (flag: Option<'T>) (result: ParseResult) : 'T option =
        match result.GetResult flag with
        | null -> None
        | _ -> Some(result.GetRequiredValue flag)

    let isSet (flag: Option<bool>) (result: ParseResult) : bool = orElse false flag result
