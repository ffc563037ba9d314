namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// What `k8sreq receive` needs to know.
type ReceiverSettings = { Addr: ListenAddress; Name: string }

/// What the program is asked to do.
[<RequireQualifiedAccess>]
type Command =
    | Serve of Settings
    /// A folder, a file, or `-` for standard input.
    | Check of path: string
    | Receive of ReceiverSettings
    | Dead of DeadCommand
    /// Print what makes a journal's tables in PostgreSQL, and lets a role use them.
    | JournalSql of role: string option
    | Help
    | Version

module CommandLine =
    let private addressAccepted = "[HOST]:PORT, such as :9001"

    let rec private readReceiver (settings: ReceiverSettings) errors (arguments: string list) =
        match arguments with
        | [] ->
            if List.isEmpty errors then
                Ok(Command.Receive settings)
            else
                Error(List.rev errors)
        | argument :: rest when argument.StartsWith "--" && argument.Contains '=' ->
            let equals = argument.IndexOf '='

            readReceiver
                settings
                errors
                (argument.Substring(0, equals) :: argument.Substring(equals + 1) :: rest)
        | "--addr" :: text :: rest ->
            match ListenAddress.tryParse text with
            | Some address -> readReceiver { settings with Addr = address } errors rest
            | None ->
                readReceiver settings (SettingError.Invalid("--addr", text, addressAccepted) :: errors) rest
        | "--name" :: name :: rest -> readReceiver { settings with Name = name } errors rest
        | [ "--addr" ] ->
            readReceiver settings (SettingError.WithoutValue("--addr", addressAccepted) :: errors) []
        | [ "--name" ] -> readReceiver settings (SettingError.WithoutValue("--name", "any text") :: errors) []
        | argument :: rest when argument.StartsWith "--" ->
            readReceiver settings (SettingError.UnknownFlag argument :: errors) rest
        | argument :: rest -> readReceiver settings (SettingError.UnexpectedArgument argument :: errors) rest

    let private receiverDefaults = {
        Addr = { Host = ListenHost.Any; Port = 9001 }
        Name = "receiver"
    }

    // It stands in SQL as it is.
    let private isRole (text: string) =
        text <> ""
        && text
           |> Seq.forall (fun letter -> Char.IsAsciiLetterOrDigit letter || letter = '_' || letter = '-')

    let private readJournal (arguments: string list) =
        match arguments with
        | [ "sql" ] -> Ok(Command.JournalSql None)
        | [ "sql"; "--role"; role ] when isRole role -> Ok(Command.JournalSql(Some role))
        | [ "sql"; "--role"; role ] ->
            Error [ SettingError.Invalid("--role", role, "a name of letters, digits, _ and -") ]
        | [ "sql"; "--role" ] -> Error [ SettingError.WithoutValue("--role", "the name of a role") ]
        | "sql" :: argument :: _ when argument.StartsWith "--" -> Error [ SettingError.UnknownFlag argument ]
        | "sql" :: argument :: _ -> Error [ SettingError.UnexpectedArgument argument ]
        | _ ->
            Error [
                SettingError.Missing("journal sql", "it is all that there is to do with a journal")
            ]

    /// Reads the program's arguments; the environment matters to the proxy only.
    let parse
        (environment: Map<string, string>)
        (arguments: string list)
        : Validation<Command, SettingError> =
        match arguments with
        | _ when
            arguments
            |> List.exists (fun argument -> argument = "--help" || argument = "-h")
            ->
            Ok Command.Help
        | [ "--version" ] -> Ok Command.Version
        | [ "check"; path ] when not (path.StartsWith "--") && path <> "" -> Ok(Command.Check path)
        | [ "check" ] ->
            Error [
                SettingError.Missing("check PATH", "the folder or file to check, or - for standard input")
            ]
        | [ "check"; flag ] -> Error [ SettingError.UnknownFlag flag ]
        | "check" :: _ :: rest -> Error [ for argument in rest -> SettingError.UnexpectedArgument argument ]
        | "dead" :: rest -> DeadCommand.parse rest |> Result.map Command.Dead
        | "journal" :: rest -> readJournal rest
        | "receive" :: rest -> readReceiver receiverDefaults [] rest
        | _ -> Settings.parse environment arguments |> Validation.map Command.Serve

    let private settingLine (spec: SettingSpec) =
        let byDefault =
            if spec.Default = "" then
                ""
            else
                $" (default {spec.Default})"

        $"  {SettingSpec.flag spec, -28}{SettingSpec.variable spec, -28}{spec.Help}{byDefault}\n"
        + $"""  {"", -56}{spec.Accepted}"""

    /// The text of `--help`.
    let help =
        [
            "k8sreq duplicates HTTP requests: it answers 202 and sends a copy to every target whose host matches."
            ""
            "Usage:"
            "  k8sreq [flags]                                serve the proxy, with routes from the cluster"
            "  k8sreq --manifests DIR [flags]                serve the proxy, with routes from a folder of manifests"
            "  k8sreq check DIR | FILE | -                   print the routes in manifests; exit 1 if anything is wrong"
            "  k8sreq receive [--addr :9001] [--name NAME]   print every request that comes in, to try things out"
            "  k8sreq dead list | show ID | replay | drop    look at copies that failed for good, send them again, remove them:"
            "      [--clone NAMESPACE/NAME] [--outcome refused|failing|expired|poison] [--since TIME] [--until TIME] [--id ID]"
            "      [--limit N] [--rate PER-SECOND] [--dry-run] [--all] [--headers] [--body] [--output table|json]"
            "      [--addr http://127.0.0.1:9558], the status page of a proxy that runs"
            "  k8sreq journal sql [--role ROLE]              print what makes a journal's tables in PostgreSQL, for a role that may not"
            "  k8sreq --help | --version"
            ""
            "Settings of the proxy, as flags or environment variables; a flag wins:"
            yield! List.map settingLine KnownSettings.specs
        ]
        |> String.concat "\n"
