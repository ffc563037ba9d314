namespace K8sReq.Core

open System

/// What the filters of a RequestClone make of the heads of its copies, put together once.
type HeadEdit = {
    /// All that is the same in every copy; its target is none of it.
    Change: HeadChange
    Path: PathRewrite option
}

module HeadEdit =
    /// Copies that go as the request came.
    let none: HeadEdit = {
        Change = HeadChange.none
        Path = None
    }

    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private drop (change: HeadChange) (name: string) : HeadChange = {
        change with
            Removed =
                if Array.exists (isNamed name) change.Removed then
                    change.Removed
                else
                    Array.append change.Removed [| name |]
            Added = change.Added |> Array.filter (fun struct (known, _) -> not (isNamed name known))
    }

    let private add (change: HeadChange) (line: HeaderLine) : HeadChange = {
        change with
            Added = Array.append change.Added [| line |]
    }

    let private replace (change: HeadChange) (struct (name, value): HeaderLine) : HeadChange =
        add (drop change name) (struct (name, value))

    let private withFilter (edit: HeadEdit) (filter: CopyFilter) : HeadEdit =
        match filter with
        | CopyFilter.Headers(set, added, removed) ->
            let change = List.fold replace edit.Change set
            let change = List.fold add change added

            {
                edit with
                    Change = List.fold drop change removed
            }
        | CopyFilter.Rewrite(hostname, path) -> {
            Change = {
                edit.Change with
                    Host =
                        match hostname with
                        | Some hostname -> hostname
                        | None -> edit.Change.Host
            }
            Path = path |> Option.orElse edit.Path
          }

    /// What these filters do, one after the other.
    let ofFilters (filters: CopyFilter list) : HeadEdit = List.fold withFilter none filters

    /// Whether it changes anything.
    let isNone (edit: HeadEdit) : bool =
        isNull edit.Change.Host
        && edit.Path.IsNone
        && edit.Change.Removed.Length = 0
        && edit.Change.Added.Length = 0

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
            let change =
                match edit.Path with
                | None -> edit.Change
                | Some path -> {
                    edit.Change with
                        Target = rewritten matches path request
                  }

            CapturedRequest.withHead change request
