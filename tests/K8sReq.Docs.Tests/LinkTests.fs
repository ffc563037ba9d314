/// Every link within the repository leads somewhere.
module K8sReq.Docs.Tests.LinkTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open K8sReq.Docs.Tests.Documents

/// Links to addresses elsewhere are not looked at: the tests ask no network.
let private isElsewhere (target: string) =
    Regex.IsMatch(target, "^[a-z][a-z0-9+.-]*:")

// What a code span shows is no link.
let private withoutCode (line: string) = Regex.Replace(line, "`[^`]*`", "")

let private link = Regex @"\[[^\]]*\]\(([^)\s]+)(?:\s+""[^""]*"")?\)"
let private definition = Regex @"^\[[^\]]+\]:\s+(\S+)"

/// Targets with the numbers of their lines.
let links (document: Document) : (int * string) list = [
    for number, line in fst (split document) do
        let line = withoutCode line

        for found in link.Matches line do
            number, found.Groups[1].Value

        for found in definition.Matches line do
            number, found.Groups[1].Value
]

/// The anchor that GitHub gives a heading: letters, digits, hyphens and underscores stay, spaces become hyphens.
let anchorOf (heading: string) : string =
    let words =
        Regex.Replace(heading, @"\[([^\]]*)\]\([^)]*\)", "$1").Trim().ToLowerInvariant()

    String.collect
        (fun letter ->
            match letter with
            | ' ' -> "-"
            | letter when Char.IsLetterOrDigit letter || letter = '-' || letter = '_' -> string letter
            | _ -> "")
        words

/// Anchors of a document; the second of two headings with the same words ends in `-1`.
let anchors (document: Document) : Set<string> =
    let add (seen: Map<string, int>, found: Set<string>) (line: string) =
        let heading = Regex.Match(line, @"^#{1,6}\s+(.*?)\s*#*$")

        if heading.Success then
            let anchor = anchorOf heading.Groups[1].Value

            match seen.TryFind anchor with
            | None -> seen.Add(anchor, 1), found.Add anchor
            | Some count -> seen.Add(anchor, count + 1), found.Add $"{anchor}-{count}"
        else
            seen, found

    fst (split document)
    |> List.map snd
    |> List.fold add (Map.empty, Set.empty)
    |> snd

let private byPath =
    Documents.all
    |> List.map (fun document -> document.Path, document)
    |> Map.ofList

/// What is wrong with a link from a document; None if it leads somewhere.
let fault (document: Document) (target: string) : string option =
    let path, anchor =
        match target.IndexOf '#' with
        | -1 -> target, None
        | at -> target.Substring(0, at), Some(target.Substring(at + 1))

    let folder = Path.GetDirectoryName document.Path

    let file =
        if path = "" then
            document.Path
        else
            Path
                .GetRelativePath(root, Path.GetFullPath(Path.Combine(root, string folder, path)))
                .Replace('\\', '/')

    let full = Path.Combine(root, file)

    match anchor with
    | _ when not (File.Exists full || Directory.Exists full) -> Some $"there is no {file}"
    | None -> None
    | Some anchor ->
        match byPath.TryFind file with
        | None -> Some $"{file} has no headings"
        | Some other when (anchors other).Contains anchor -> None
        | Some _ -> Some $"{file} has no heading #{anchor}"

let tests =
    testList "links" [
        for document in Documents.all do
            test $"every link of {document.Path} leads somewhere" {
                let faults = [
                    for line, target in links document do
                        if not (isElsewhere target) then
                            match fault document target with
                            | Some fault -> $"{document.Path}:{line}: {target}: {fault}"
                            | None -> ()
                ]

                Expect.isEmpty faults "all of them"
            }

        test "a link to a file, a heading or a folder that is not there is found" {
            let document = {
                Path = "docs/a.md"
                Text = "# One two\n"
            }

            for target, isThere in
                [
                    "../README.md", true
                    "../READNE.md", false
                    "security.md#what-is-trusted", true
                    "security.md#what-is-not-trusted", false
                    "../examples/local", true
                    "../exemples", false
                ] do
                Expect.equal (fault document target).IsNone isThere target
        }

        test "anchors are those that GitHub makes" {
            let document = {
                Path = "a.md"
                Text =
                    "# A `code`, and (more)\n```\n# no heading\n```\n## Twice\n## Twice\n### [A link](x.md) there\n"
            }

            Expect.equal
                (anchors document)
                (set [ "a-code-and-more"; "twice"; "twice-1"; "a-link-there" ])
                "of each heading"
        }
    ]
