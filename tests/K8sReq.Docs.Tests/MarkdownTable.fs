/// Tables as Markdown.
module K8sReq.Docs.Tests.MarkdownTable

/// Text of a cell: a bar would end it.
let cell (text: string) = text.Replace("|", "\\|")

/// The same as code, or nothing for nothing. Between backquotes a bar is escaped too.
let code (text: string) =
    if text = "" then "" else $"`{cell text}`"

/// The first letter as a capital.
let sentence (text: string) =
    if text = "" then
        ""
    else
        string (System.Char.ToUpperInvariant text[0]) + text.Substring 1

let private row (cells: string list) = "| " + String.concat " | " cells + " |"

/// Cells are Markdown already.
let render (header: string list) (rows: string list list) : string =
    [
        row header
        "|" + String.replicate header.Length "---|"
        yield! List.map row rows
    ]
    |> List.map (fun line -> line.Replace("|  |", "| |").Replace("|  |", "| |"))
    |> String.concat "\n"
