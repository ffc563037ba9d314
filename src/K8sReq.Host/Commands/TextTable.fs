/// Rows for people, in columns as wide as they have to be.
module K8sReq.Host.Commands.TextTable

/// The header and the rows, a line each. All rows have as many cells as the header.
let lines (header: string list) (rows: string list list) : string list =
    let widths =
        header :: rows
        |> List.transpose
        |> List.map (List.map String.length >> List.max)

    header :: rows
    |> List.map (fun row ->
        List.map2 (fun (cell: string) (width: int) -> cell.PadRight width) row widths
        |> String.concat "  "
        |> _.TrimEnd())
