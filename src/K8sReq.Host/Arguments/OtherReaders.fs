/// Commands with little to say.
module K8sReq.Host.Arguments.OtherReaders

open System
open System.CommandLine
open K8sReq.Core

// It stands in SQL as it is.
let private tryRole (text: string) : string option =
    let isOfRole letter =
        Char.IsAsciiLetterOrDigit letter || letter = '_' || letter = '-'

    if text <> "" && Seq.forall isOfRole text then
        Some text
    else
        None

let private role =
    Flag<string>(
        "--role",
        "ROLE",
        "a name of letters, digits, _ and -",
        "Print the rights that this role needs as well.",
        tryRole
    )

/// `k8sreq journal`
let journal: CommandReader =
    CommandReader.group "journal" "Prepare a journal in PostgreSQL." [] [
        CommandReader.create
            "sql"
            "Print the SQL that creates a journal's tables, for a role that may not."
            [ role ]
            [ "journal sql --role k8sreq | psql" ]
            (fun result -> Ok(Command.JournalSql(Flag.tryGet role result)))
    ]

let private verbose =
    Flag.switch "--verbose" "Print the commit that it was built from too."

/// `k8sreq version`
let version: CommandReader =
    CommandReader.create "version" "Print the version." [ verbose ] [] (fun result ->
        Ok(Command.Version(Flag.isSet verbose result)))

let private shells = [
    "bash", Shell.Bash
    "zsh", Shell.Zsh
    "fish", Shell.Fish
    "powershell", Shell.PowerShell
]

let private shell =
    let names = shells |> List.map fst

    let argument =
        Argument<string>("SHELL", Description = String.Join(", ", names) + ".")

    argument.CompletionSources.Add(Array.ofList names)
    argument

/// `k8sreq completion`
let completion: CommandReader =
    CommandReader.create
        "completion"
        "Print a script by which a shell completes this program's commands."
        [ shell ]
        [
            "completion bash > /etc/bash_completion.d/k8sreq"
            "completion fish | source"
        ]
        (fun result ->
            let name = result.GetRequiredValue shell

            match shells |> List.tryFind (fun (known, _) -> known = name) with
            | Some(_, shell) -> Ok(Command.Completion shell)
            | None ->
                Error [
                    $"\"{name}\" is not a shell that completion knows: bash, zsh, fish or powershell"
                ])
