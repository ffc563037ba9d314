namespace K8sReq.Core

open System

/// What the filters of a RequestClone make of the heads of its copies, put together once.
type HeadEdit = {
    /// Null where it stays.
    Hostname: string | null
    Path: PathRewrite option
    /// Names of fields that go, in any case.
    Removed: string[]
    /// Fields that come to the end.
    Added: HeaderLine[]
}

module HeadEdit =
    /// Copies that go as the request came.
    let none: HeadEdit = {
        Hostname = null
        Path = None
        Removed = [||]
        Added = [||]
    }

    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private drop (name: string) (edit: HeadEdit) : HeadEdit = {
        edit with
            Removed =
                if Array.exists (isNamed name) edit.Removed then
                    edit.Removed
                else
                    Array.append edit.Removed [| name |]
            Added = edit.Added |> Array.filter (fun struct (known, _) -> not (isNamed name known))
    }

    let private add (edit: HeadEdit) (line: HeaderLine) : HeadEdit = {
        edit with
            Added = Array.append edit.Added [| line |]
    }

    let private replace (edit: HeadEdit) (struct (name, value): HeaderLine) : HeadEdit =
        add (drop name edit) (struct (name, value))

    let private withFilter (edit: HeadEdit) (filter: CopyFilter) : HeadEdit =
        match filter with
        | CopyFilter.Headers(set, added, removed) ->
            let edit = List.fold replace edit set
            let edit = List.fold add edit added
            List.fold (fun edit name -> drop name edit) edit removed
        | CopyFilter.Rewrite(hostname, path) -> {
            edit with
                Hostname =
                    hostname
                    |> Option.toObj
                    |> (fun name -> if isNull name then edit.Hostname else name)
                Path = path |> Option.orElse edit.Path
          }

    /// What these filters do, one after the other.
    let ofFilters (filters: CopyFilter list) : HeadEdit = List.fold withFilter none filters

    /// Whether it changes anything.
    let isNone (edit: HeadEdit) : bool =
        isNull edit.Hostname
        && edit.Path.IsNone
        && edit.Removed.Length = 0
        && edit.Added.Length = 0

    // Of the path and of what it was matched by; None where that is no prefix of it.
    let private replacePrefix (replacement: string) (prefix: string) (path: string) : string option =
        if RequestMatch.isBelow prefix (path.AsSpan()) then
            match path.Substring prefix.Length with
            | "" when replacement = "" -> Some "/"
            | "" -> Some replacement
            | rest -> Some(replacement.TrimEnd '/' + rest)
        else
            None

    // The prefix that the request is matched by. A RequestClone may have changed since: then nothing may match any more.
    let private prefixOf (matches: RequestMatch[]) (request: CapturedRequest) : string option =
        let prefix (wanted: RequestMatch) =
            match wanted.Path with
            | None -> Some ""
            | Some(PathMatch.Prefix prefix) -> Some prefix
            | Some(PathMatch.Exact _) -> None

        match matches with
        | [||] -> Some ""
        | [| one |] -> prefix one
        | several ->
            let head = CapturedRequest.head request

            several |> Array.tryFind (RequestMatch.isMet head) |> Option.bind prefix

    let private rewritten
        (matches: RequestMatch[])
        (path: PathRewrite)
        (request: CapturedRequest)
        : string | null =
        let target = CapturedRequest.target request

        let length =
            match target.IndexOf '?' with
            | -1 -> target.Length
            | queryStart -> queryStart

        let query = target.Substring length

        match path with
        | PathRewrite.Full full -> full + query
        | PathRewrite.PrefixMatch replacement ->
            prefixOf matches request
            |> Option.bind (fun prefix -> replacePrefix replacement prefix (target.Substring(0, length)))
            |> Option.map (fun path -> path + query)
            |> Option.toObj

    /// The request as its copy is sent. `matches` are those of the RequestClone, by which the request came to be copied.
    let apply (matches: RequestMatch[]) (edit: HeadEdit) (request: CapturedRequest) : CapturedRequest =
        if isNone edit then
            request
        else
            request
            |> CapturedRequest.withHead {
                Target =
                    match edit.Path with
                    | None -> null
                    | Some path -> rewritten matches path request
                Host = edit.Hostname
                Removed = edit.Removed
                Added = edit.Added
            }
