namespace K8sReq.Core

/// What becomes of a path.
[<RequireQualifiedAccess>]
type PathRewrite =
    /// It is replaced as a whole; the query stays.
    | Full of string
    /// The prefix that the request was matched by (`PathMatch.Prefix`) is replaced, or the empty one where there is none.
    | PrefixMatch of string

/// What is changed in the head of a RequestClone's copies.
[<RequireQualifiedAccess>]
type CopyFilter =
    /// First `set`, which replaces all values, then `add`, then `remove`.
    | Headers of set: HeaderLine list * add: HeaderLine list * remove: string list
    /// The Host header, and the path.
    | Rewrite of hostname: string option * path: PathRewrite option

module CopyFilter =
    /// What is changed, a line each for people: `sets X-Env`. The values of headers are left out, for they may be secrets.
    let describe (filter: CopyFilter) : string list =
        match filter with
        | CopyFilter.Headers(set, added, removed) -> [
            for struct (name, _) in set do
                $"sets {name}"
            for struct (name, _) in added do
                $"adds {name}"
            for name in removed do
                $"removes {name}"
          ]
        | CopyFilter.Rewrite(hostname, path) -> [
            match hostname with
            | Some hostname -> $"Host becomes {hostname}"
            | None -> ()
            match path with
            | Some(PathRewrite.Full full) -> $"the path becomes {full}"
            | Some(PathRewrite.PrefixMatch "") -> "the prefix of the path goes"
            | Some(PathRewrite.PrefixMatch prefix) -> $"the prefix of the path becomes {prefix}"
            | None -> ()
          ]
