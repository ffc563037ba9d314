namespace K8sReq.Core

open System

/// The right name that a wrong one was most likely meant to be.
module NearestName =
    // How many letters have to be added, removed, replaced or swapped with the next one. Capitals make no difference.
    let private distance (one: string) (other: string) : int =
        let one, other = one.ToLowerInvariant(), other.ToLowerInvariant()

        let table =
            Array2D.init (one.Length + 1) (other.Length + 1) (fun row column -> max row column)

        for row in 1 .. one.Length do
            for column in 1 .. other.Length do
                let isSame = one[row - 1] = other[column - 1]

                let isSwapped =
                    row > 1
                    && column > 1
                    && one[row - 1] = other[column - 2]
                    && one[row - 2] = other[column - 1]

                let replaced = table[row - 1, column - 1] + (if isSame then 0 else 1)

                let added = 1 + min table[row - 1, column] table[row, column - 1]

                let swapped =
                    if isSwapped then
                        table[row - 2, column - 2] + 1
                    else
                        replaced

                table[row, column] <- min replaced (min added swapped)

        table[one.Length, other.Length]

    // Names of which one has all of the other, or which begin alike, are near however long the rest is.
    let private looksAlike (one: string) (other: string) =
        let isIn (part: string) (whole: string) =
            part.Length >= 3 && whole.Contains(part, StringComparison.OrdinalIgnoreCase)

        isIn one other
        || isIn other one
        || (one.Length >= 4
            && other.Length >= 4
            && one.Substring(0, 4).Equals(other.Substring(0, 4), StringComparison.OrdinalIgnoreCase))

    /// The nearest of these names, if one is near enough to be what was meant.
    let tryFind (names: string seq) (text: string) : string option =
        let near =
            (if text = "" then Seq.empty else names)
            |> Seq.map (fun name -> distance text name, name)
            |> Seq.filter (fun (distance, name) ->
                distance <= max 1 (min text.Length name.Length / 3) || looksAlike text name)
            |> List.ofSeq

        match near with
        | [] -> None
        | near -> near |> List.minBy fst |> snd |> Some
