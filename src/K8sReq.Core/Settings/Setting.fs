namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// Where a setting came from, as the user wrote it: `--http-addr` or `HTTP_ADDR`.
type SettingSource = string

/// One thing that is wrong with the command line or the environment.
[<RequireQualifiedAccess>]
type SettingError =
    | Invalid of SettingSource * given: string * accepted: string
    | Missing of SettingSource * why: string
    | WithoutValue of flag: string * accepted: string
    | UnknownFlag of flag: string
    | UnexpectedArgument of argument: string

/// A setting as users see it: the flag `--name` and the variable `NAME` mean the same.
type SettingSpec = {
    Name: string
    Default: string
    /// Which values are accepted, in words.
    Accepted: string
    Help: string
    /// A flag that may stand without a value, which then means true.
    IsSwitch: bool
}

module SettingSpec =
    let flag (spec: SettingSpec) = "--" + spec.Name

    let variable (spec: SettingSpec) =
        spec.Name.ToUpperInvariant().Replace('-', '_')

/// One setting, written once: name, default, parser and text.
[<NoEquality; NoComparison>]
type Setting<'T> = {
    Spec: SettingSpec
    TryParse: string -> 'T option
}

/// What was given on the command line, by flag, and in the environment, by variable.
type SettingInput = {
    Flags: Map<string, string>
    Environment: Map<string, string>
}

module Setting =
    let create name byDefault accepted help (tryParse: string -> 'T option) : Setting<'T> = {
        Spec = {
            Name = name
            Default = byDefault
            Accepted = accepted
            Help = help
            IsSwitch = false
        }
        TryParse = tryParse
    }

    /// What was given for a setting, and where. An empty variable counts as not set, as it did for the users of the replaced
    /// controller; an empty flag was typed on purpose.
    let given (input: SettingInput) (spec: SettingSpec) : (SettingSource * string) option =
        match input.Flags.TryFind spec.Name, input.Environment.TryFind(SettingSpec.variable spec) with
        | Some value, _ -> Some(SettingSpec.flag spec, value)
        | None, Some value when value <> "" -> Some(SettingSpec.variable spec, value)
        | None, _ -> None

    /// The value in force: what was given, or else the default.
    let read (input: SettingInput) (setting: Setting<'T>) : Result<'T, SettingError> =
        let source, value =
            given input setting.Spec
            |> Option.defaultValue (SettingSpec.variable setting.Spec, setting.Spec.Default)

        setting.TryParse value
        |> Result.requireSome (SettingError.Invalid(source, value, setting.Spec.Accepted))

    let tryBool (text: string) : bool option =
        match text with
        | "1"
        | "t"
        | "T"
        | "true"
        | "True"
        | "TRUE" -> Some true
        | "0"
        | "f"
        | "F"
        | "false"
        | "False"
        | "FALSE" -> Some false
        | _ -> None

    let tryInteger (lowest: int64) (highest: int64) (text: string) : int64 option =
        match
            Int64.TryParse(text, Globalization.NumberStyles.None, Globalization.CultureInfo.InvariantCulture)
        with
        | true, number when number >= lowest && number <= highest -> Some number
        | _ -> None

    let tryCount (highest: int) (text: string) : int option =
        tryInteger 1L (int64 highest) text |> Option.map int

    /// None for auto.
    let tryAuto (tryParse: string -> 'T option) (text: string) : 'T option option =
        if text.Equals("auto", StringComparison.OrdinalIgnoreCase) then
            Some None
        else
            tryParse text |> Option.map Some

    // A timer takes at most 2^32 - 2 ms, which is 49 days.
    let private longestTimer = TimeSpan.FromDays 49.0

    /// 1 ms or more.
    let tryTimeout (text: string) : TimeSpan option =
        GoDuration.tryParse text
        |> Option.filter (fun time -> time >= TimeSpan.FromMilliseconds 1.0 && time <= longestTimer)

    /// 0 or more.
    let tryDelay (text: string) : TimeSpan option =
        GoDuration.tryParse text |> Option.filter (fun time -> time <= longestTimer)

    /// The text itself, if it is one of these.
    let tryIf (isAccepted: string -> bool) (text: string) : string option =
        if isAccepted text then Some text else None

    /// An empty text stands for none.
    let tryOptional (isAccepted: string -> bool) (text: string) : string option option =
        if text = "" then Some None
        elif isAccepted text then Some(Some text)
        else None
