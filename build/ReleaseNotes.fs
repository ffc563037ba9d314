/// What a release says of itself: its part of CHANGELOG.md.
module K8sReq.Build.ReleaseNotes

open System

let private isHeading (line: string) =
    line.StartsWith("## [", StringComparison.Ordinal)

/// The lines below the heading of this version (`## [1.0.0] - 2026-01-31`), or of `Unreleased`.
let private trySection (name: string) (changelog: string) : string option =
    let lines = changelog.Split '\n' |> List.ofArray |> List.map _.TrimEnd()

    let isOurs (line: string) =
        line.StartsWith($"## [{name}]", StringComparison.Ordinal)

    match lines |> List.skipWhile (isOurs >> not) with
    | [] -> None
    | _ :: below ->
        let isLink (line: string) =
            line.StartsWith("[", StringComparison.Ordinal) && line.Contains "]: "

        let text =
            below
            |> List.takeWhile (isHeading >> not)
            |> List.filter (isLink >> not)
            |> String.concat "\n"

        match text.Trim() with
        | "" -> None
        | text -> Some text

/// The notes of a version: its section, or before it has one that of what is not released yet. An error says what is missing.
let ofVersion (version: string) (changelog: string) : Result<string, string> =
    match trySection version changelog, trySection "Unreleased" changelog with
    | Some text, _ -> Ok $"# K8sReq {version}\n\n{text}\n"
    | None, Some text -> Ok $"# K8sReq {version}, not released yet\n\n{text}\n"
    | None, None -> Error $"CHANGELOG.md has no section [{version}], and nothing in [Unreleased]"
