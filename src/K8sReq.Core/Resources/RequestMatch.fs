namespace K8sReq.Core

open System

/// Which paths are meant. Paths are compared as they are sent: escapes are not undone, capitals make a difference, and the query is no
/// part of them.
[<RequireQualifiedAccess>]
type PathMatch =
    | Exact of string
    /// The path itself and all paths below it, element by element: `/a` is meant for `/a` and `/a/b`, not for `/ab`. Without a
    /// slash at its end, so that it is empty for every path.
    | Prefix of string

/// A header or a query parameter that has this value.
type FieldMatch = { Name: string; Value: string }

/// Which requests are meant: those for which everything holds that is named here.
type RequestMatch = {
    /// Compared with capitals.
    Method: string option
    /// None for every path.
    Path: PathMatch option
    /// Their names without a difference between capitals and small letters. A header that comes more than once has all its values,
    /// joined with commas.
    Headers: FieldMatch list
    /// As they are sent, escapes not undone. Of a parameter that comes more than once the first counts.
    QueryParams: FieldMatch list
}

module RequestMatch =
    /// Every request.
    let all: RequestMatch = {
        Method = None
        Path = None
        Headers = []
        QueryParams = []
    }

    // How much of the target is its path.
    let private pathLength (target: string) =
        match target.IndexOf '?' with
        | -1 -> target.Length
        | queryStart -> queryStart

    /// Whether a path is this one or below it. `prefix` has no slash at its end.
    let isBelow (prefix: string) (path: ReadOnlySpan<char>) =
        path.StartsWith(prefix.AsSpan(), StringComparison.Ordinal)
        && (path.Length = prefix.Length || path[prefix.Length] = '/')

    let private isPath (wanted: PathMatch) (path: ReadOnlySpan<char>) =
        match wanted with
        | PathMatch.Exact text -> path.Equals(text.AsSpan(), StringComparison.Ordinal)
        | PathMatch.Prefix prefix -> isBelow prefix path

    let private isHeader (lines: HeaderLine[]) (wanted: FieldMatch) =
        let mutable count = 0
        let mutable value = ""

        for struct (name, next) in lines do
            if name.Equals(wanted.Name, StringComparison.OrdinalIgnoreCase) then
                value <- if count = 0 then next else String.Concat(value, ",", next)

                count <- count + 1

        count > 0 && value.Equals(wanted.Value, StringComparison.Ordinal)

    // `query`: what follows the question mark.
    let private isQueryParam (query: string) (wanted: FieldMatch) =
        let mutable start = 0
        let mutable isMet = false
        let mutable isOver = false

        while not isOver do
            let rest = query.AsSpan start

            let pair =
                match rest.IndexOf '&' with
                | -1 -> rest
                | length -> rest.Slice(0, length)

            let nameLength =
                match pair.IndexOf '=' with
                | -1 -> pair.Length
                | length -> length

            if pair.Slice(0, nameLength).Equals(wanted.Name.AsSpan(), StringComparison.Ordinal) then
                let value = pair.Slice(min pair.Length (nameLength + 1))
                isMet <- value.Equals(wanted.Value.AsSpan(), StringComparison.Ordinal)
                isOver <- true

            start <- start + pair.Length + 1
            isOver <- isOver || start > query.Length

        isMet

    let private queryOf (target: string) (pathLength: int) =
        if pathLength < target.Length then
            target.Substring(pathLength + 1)
        else
            ""

    /// Whether a request is meant.
    let isMet (head: RequestHead) (wanted: RequestMatch) : bool =
        let target = RequestTarget.originForm head.Target
        let length = pathLength target

        (match wanted.Method with
         | None -> true
         | Some method -> method.Equals(head.Method, StringComparison.Ordinal))
        && (match wanted.Path with
            | None -> true
            | Some path -> isPath path (target.AsSpan(0, length)))
        && (wanted.Headers.IsEmpty || List.forall (isHeader head.Lines) wanted.Headers)
        && (wanted.QueryParams.IsEmpty
            || (let query = queryOf target length
                List.forall (isQueryParam query) wanted.QueryParams))

    /// Whether one of these means the request. Where there are none, every request is meant.
    let isAnyMet (head: RequestHead) (wanted: RequestMatch[]) : bool =
        let mutable isAny = wanted.Length = 0
        let mutable index = 0

        while not isAny && index < wanted.Length do
            isAny <- isMet head wanted[index]
            index <- index + 1

        isAny

    /// One line for people: `POST /github, X-GitHub-Event: push`.
    let describe (wanted: RequestMatch) : string =
        let first =
            [
                yield! Option.toList wanted.Method
                match wanted.Path with
                | None -> ()
                | Some(PathMatch.Exact path) -> path
                | Some(PathMatch.Prefix "") -> "/ and below"
                | Some(PathMatch.Prefix prefix) -> $"{prefix} and below"
            ]
            |> String.concat " "

        [
            if first <> "" then
                first
            for header in wanted.Headers do
                $"{header.Name}: {header.Value}"
            for parameter in wanted.QueryParams do
                $"?{parameter.Name}={parameter.Value}"
        ]
        |> String.concat ", "
        |> function
            | "" -> "every request"
            | text -> text
