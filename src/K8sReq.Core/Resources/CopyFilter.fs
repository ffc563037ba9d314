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
