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

    let private withFilter (edit: HeadEdit) (filter: CopyFilter) : HeadEdit =
        match filter with
        | CopyFilter.Headers(set, added, removed) ->
            let setOne change line =
                HeadChange.andThen (HeadChange.setting [| line |]) change

            {
                edit with
                    Change =
                        List.fold setOne edit.Change set
                        |> HeadChange.andThen (HeadChange.adding (Array.ofList added))
                        |> HeadChange.andThen (HeadChange.removing (Array.ofList removed))
            }
        | CopyFilter.Rewrite(hostname, path) -> {
            Change =
                edit.Change
                |> HeadChange.andThen {
                    HeadChange.none with
                        Host = Option.toObj hostname
                }
            Path = path |> Option.orElse edit.Path
          }

    /// What these filters do, one after the other.
    let ofFilters (filters: CopyFilter list) : HeadEdit = List.fold withFilter none filters

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

    /// What is different in this request's copy. `matches` are those of the RequestClone, by which the request came to be copied.
    let changeOf (matches: RequestMatch[]) (edit: HeadEdit) (request: CapturedRequest) : HeadChange =
        match edit.Path with
        | None -> edit.Change
        | Some path -> {
            edit.Change with
                Target = rewritten matches path request
          }
