/// The table of a chart's values, made from the comments of its values.yaml. A comment stands directly above its key. A map of
/// which no key has a comment is one value.
module K8sReq.Build.ValuesTable

open System

/// A value as the table has it.
type ChartValue = {
    /// As --set takes it: image.repository.
    Path: string
    /// None: a group of values, and what they have in common.
    Default: string option
    Description: string
}

// A key with what stands below it.
type private Entry = {
    Key: string
    Value: string
    Comment: string
    Children: Entry list
}

let private indentOf (line: string) =
    line.Length - line.TrimStart(' ').Length

// The entries of a block: lines with this indentation, and what is indented further below them.
let rec private entries (indent: int) (lines: string list) : Entry list =
    let rec read (comment: string list) (found: Entry list) (lines: string list) =
        match lines with
        | [] -> List.rev found
        | line :: rest when String.IsNullOrWhiteSpace line -> read [] found rest
        | line :: rest when line.TrimStart().StartsWith '#' ->
            read (line.TrimStart().[1..].Trim() :: comment) found rest
        | line :: rest ->
            let separator = line.IndexOf ':'
            let isBelow (line: string) = line = "" || indentOf line > indent
            let below = rest |> List.takeWhile isBelow

            let entry = {
                Key = line.Substring(0, separator).Trim()
                Value = line.Substring(separator + 1).Trim()
                Comment = comment |> List.rev |> String.concat " "
                Children = entries (indent + 2) below
            }

            read [] (entry :: found) (List.skip below.Length rest)

    read [] [] lines

// As YAML in one line.
let rec private inOneLine (entry: Entry) : string =
    if entry.Children.IsEmpty then
        entry.Value
    else
        let fields =
            entry.Children |> List.map (fun child -> $"{child.Key}: {inOneLine child}")

        "{" + String.concat ", " fields + "}"

let rec private isDescribed (entry: Entry) =
    entry.Comment <> "" || List.exists isDescribed entry.Children

let rec private valuesOf (prefix: string) (entry: Entry) : ChartValue list =
    let path = prefix + entry.Key

    if entry.Children |> List.exists isDescribed then
        [
            if entry.Comment <> "" then
                {
                    Path = path
                    Default = None
                    Description = entry.Comment
                }
            for child in entry.Children do
                yield! valuesOf (path + ".") child
        ]
    else
        [
            {
                Path = path
                Default = Some(inOneLine entry)
                Description = entry.Comment
            }
        ]

/// The values of a values.yaml, in its order.
let parse (yaml: string) : ChartValue list =
    yaml.Split '\n' |> List.ofArray |> entries 0 |> List.collect (valuesOf "")

let private cell (text: string) = text.Replace("|", "\\|")

/// As a table of Markdown.
let render (values: ChartValue list) : string =
    let row (value: ChartValue) =
        let shown =
            match value.Default with
            | Some text -> $"`{cell text}`"
            | None -> ""

        $"| `{value.Path}` | {shown} | {cell value.Description} |"

    "| value | default | |" :: "|---|---|---|" :: List.map row values
    |> String.concat "\n"

let private opening = "<!-- values: made by `dotnet fsi build.fsx values` -->\n\n"
let private closing = "\n\n<!-- end of values -->"

/// The text between the marks of a document; None if they are missing.
let private tryFind (document: string) : (int * int) option =
    let first = document.IndexOf(opening, StringComparison.Ordinal)
    let last = document.IndexOf(closing, StringComparison.Ordinal)

    if first >= 0 && last >= first then
        Some(first + opening.Length, last)
    else
        None

/// The document with this table between its marks, or None if it has no marks.
let tryReplace (table: string) (document: string) : string option =
    tryFind document
    |> Option.map (fun (first, last) -> document.Substring(0, first) + table + document.Substring last)
