namespace K8sReq.Core

open System

/// Label selectors as the API server reads them: `team=a,tier!=test,app in (x, y),!canary`.
module LabelSelector =
    let private isSymbol (c: char) = "=!<>(),".Contains c

    // Words and symbols; "==" and "!=" are one symbol each.
    let rec private tokens (found: string list) (text: string) : string list =
        match text.TrimStart(' ', '\t') with
        | "" -> List.rev found
        | text when text.StartsWith "==" || text.StartsWith "!=" ->
            tokens (text.Substring(0, 2) :: found) (text.Substring 2)
        | text when isSymbol text[0] -> tokens (text.Substring(0, 1) :: found) (text.Substring 1)
        | text ->
            let length =
                text
                |> Seq.takeWhile (fun c -> not (isSymbol c || c = ' ' || c = '\t'))
                |> Seq.length

            tokens (text.Substring(0, length) :: found) (text.Substring length)

    let private isName (text: string) =
        text.Length >= 1
        && text.Length <= 63
        && text
           |> Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '-' || c = '_' || c = '.')
        && Char.IsAsciiLetterOrDigit text[0]
        && Char.IsAsciiLetterOrDigit text[text.Length - 1]

    let private isKey (text: string) =
        match text.Split '/' with
        | [| name |] -> isName name
        | [| prefix; name |] -> KubernetesName.isSubdomain prefix && isName name
        | _ -> false

    let private isValue (text: string) = text = "" || isName text

    let private isWord (token: string) = not (isSymbol token[0])

    // The values of a set, from behind its opening bracket: what comes after the closing one, if they are right. A value
    // may be empty.
    let rec private afterValues (tokens: string list) : string list option =
        match tokens with
        | ")" :: rest -> Some rest
        | "," :: rest -> afterValues rest
        | value :: (")" :: _ as rest)
        | value :: "," :: rest when isWord value && isValue value -> afterValues rest
        | _ -> None

    let private isInteger (text: string) = fst (Int64.TryParse text)

    // What comes after the first requirement, if that one is right.
    let private afterRequirement (tokens: string list) : string list option =
        match tokens with
        | "!" :: key :: rest when isKey key -> Some rest
        | key :: ("in" | "notin") :: "(" :: rest when isKey key -> afterValues rest
        | key :: ("=" | "==" | "!=") :: value :: rest when isKey key && isWord value ->
            if isValue value then Some rest else None
        | key :: ("=" | "==" | "!=") :: rest when isKey key -> Some rest
        | key :: (">" | "<") :: value :: rest when isKey key && isInteger value -> Some rest
        | key :: rest when isKey key -> Some rest
        | _ -> None

    let rec private areRequirements (tokens: string list) : bool =
        match afterRequirement tokens with
        | Some [] -> true
        | Some("," :: rest) -> areRequirements rest
        | _ -> false

    /// Whether the API server takes it. An empty one selects everything.
    let isValid (text: string) : bool =
        match tokens [] text with
        | [] -> true
        | tokens -> areRequirements tokens
