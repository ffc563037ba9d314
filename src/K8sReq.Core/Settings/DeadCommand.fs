namespace K8sReq.Core

open System

/// What `k8sreq dead` does.
[<RequireQualifiedAccess>]
type DeadAction =
    | List
    | Show of id: string * headers: bool * body: bool
    | Replay
    | Drop

/// How it tells of it.
[<RequireQualifiedAccess>]
type DeadOutput =
    | Table
    | Json

/// `k8sreq dead`, asked of a proxy that runs.
type DeadCommand = {
    Action: DeadAction
    /// Of the status page, as an address with its scheme.
    Addr: string
    /// Which dead letters are meant, as given (see `DeadLetterQuery`), with `rate`.
    Fields: (string * string) list
    IsDryRun: bool
    /// All of them are meant.
    IsAll: bool
    Output: DeadOutput
}

module DeadCommand =
    let private defaults action = {
        Action = action
        Addr = "http://127.0.0.1:9558"
        Fields = []
        IsDryRun = false
        IsAll = false
        Output = DeadOutput.Table
    }

    let private filters = [
        "--clone", "NAMESPACE/NAME"
        "--outcome", "refused, failing, expired or poison"
        "--since", "a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 2h"
        "--until", "a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 2h"
        "--id", "an id, such as 1234-0"
        "--limit", "a number from 1"
    ]

    // The flags with a value that an action takes, and those without.
    let private flagsOf (action: DeadAction) : (string * string) list * string list =
        let common = [ "--addr", "http://HOST:PORT"; "--output", "table or json" ]

        match action with
        | DeadAction.List -> common @ filters, []
        | DeadAction.Show _ -> common, [ "--headers"; "--body" ]
        | DeadAction.Replay ->
            common @ filters @ [ "--rate", "copies a second, from 1" ], [ "--dry-run"; "--all" ]
        | DeadAction.Drop -> common @ filters, [ "--dry-run"; "--all" ]

    let private withValue (flag: string) (value: string) (accepted: string) (command: DeadCommand) =
        let invalid = Error(SettingError.Invalid(flag, value, accepted))

        match flag, value with
        | "--addr", address ->
            match Uri.TryCreate(address, UriKind.Absolute) with
            | true, NonNull uri when uri.Scheme = "http" || uri.Scheme = "https" ->
                Ok { command with Addr = address }
            | _ -> invalid
        | "--output", "table" ->
            Ok {
                command with
                    Output = DeadOutput.Table
            }
        | "--output", "json" ->
            Ok {
                command with
                    Output = DeadOutput.Json
            }
        | "--output", _ -> invalid
        | flag, value ->
            Ok {
                command with
                    Fields = command.Fields @ [ flag.Substring 2, value ]
            }

    let private withSwitch (flag: string) (command: DeadCommand) =
        match flag, command.Action with
        | "--dry-run", _ -> { command with IsDryRun = true }
        | "--all", _ -> { command with IsAll = true }
        | "--headers", DeadAction.Show(id, _, body) -> {
            command with
                Action = DeadAction.Show(id, true, body)
          }
        | "--body", DeadAction.Show(id, headers, _) -> {
            command with
                Action = DeadAction.Show(id, headers, true)
          }
        | _ -> command

    let private isMeant (name: string) = name <> "limit" && name <> "rate"

    // Without a word which, nothing is changed.
    let private checkFilter (command: DeadCommand) : Result<DeadCommand, SettingError list> =
        match command.Action with
        | DeadAction.Show("", _, _) ->
            Error [ SettingError.Missing("dead show ID", "the id, as dead list prints it") ]
        | DeadAction.Replay
        | DeadAction.Drop when
            not command.IsAll
            && not (command.Fields |> List.exists (fun (name, _) -> isMeant name))
            ->
            Error [
                SettingError.Missing(
                    "which dead letters",
                    "for all of them: --all; else --clone, --outcome, --since, --until or --id"
                )
            ]
        | _ -> Ok command

    let rec private read (command: DeadCommand) errors (arguments: string list) =
        let valued, switches = flagsOf command.Action

        match arguments with
        | [] ->
            if List.isEmpty errors then
                checkFilter command
            else
                Error(List.rev errors)
        | argument :: rest when argument.StartsWith "--" && argument.Contains '=' ->
            let equals = argument.IndexOf '='
            read command errors (argument.Substring(0, equals) :: argument.Substring(equals + 1) :: rest)
        | flag :: rest when List.contains flag switches -> read (withSwitch flag command) errors rest
        | flag :: rest when valued |> List.exists (fun (name, _) -> name = flag) ->
            let accepted = valued |> List.find (fun (name, _) -> name = flag) |> snd

            match rest with
            | [] -> read command (SettingError.WithoutValue(flag, accepted) :: errors) []
            | value :: rest ->
                match withValue flag value accepted command with
                | Ok command -> read command errors rest
                | Error error -> read command (error :: errors) rest
        | flag :: rest when flag.StartsWith "--" ->
            read command (SettingError.UnknownFlag flag :: errors) rest
        | id :: rest ->
            match command.Action with
            | DeadAction.Show("", headers, body) ->
                read
                    {
                        command with
                            Action = DeadAction.Show(id, headers, body)
                    }
                    errors
                    rest
            | _ -> read command (SettingError.UnexpectedArgument id :: errors) rest

    /// Reads what comes after `dead`.
    let parse (arguments: string list) : Result<DeadCommand, SettingError list> =
        match arguments with
        | "list" :: rest -> read (defaults DeadAction.List) [] rest
        | "show" :: rest -> read (defaults (DeadAction.Show("", false, false))) [] rest
        | "replay" :: rest -> read (defaults DeadAction.Replay) [] rest
        | "drop" :: rest -> read (defaults DeadAction.Drop) [] rest
        | other :: _ when other <> "" && not (other.StartsWith '-') ->
            Error [ SettingError.UnexpectedArgument other ]
        | _ ->
            Error [
                SettingError.Missing("dead list, show, replay or drop", "what to do with dead letters")
            ]
