namespace K8sReq.Core

open System

/// The request line and the headers of a request, parsed once. Everything that is decided about a request before its body
/// comes is decided by this.
[<NoEquality; NoComparison>]
type RequestHead = {
    Method: string
    /// The request target as it came over the wire, a character for each byte.
    Target: string
    /// The host that the request is for, with its port if it has one, as the client wrote it.
    Host: string
    /// HTTP/1.0 has no transfer codings (RFC 9112 section 6.1).
    IsHttp10: bool
    /// Every header, the values of one name in their order. HTTP/2's pseudo-headers are not among them.
    Lines: HeaderLine[]
}

module RequestHead =
    /// `hostField` is the Host header: what an absolute request target says counts before it (RFC 9112 section 3.2.2).
    let create
        (method: string)
        (target: string)
        (hostField: string)
        (isHttp10: bool)
        (lines: HeaderLine[])
        : RequestHead = {
        Method = method
        Target = target
        Host = RequestTarget.tryAuthority target |> ValueOption.defaultValue hostField
        IsHttp10 = isHttp10
        Lines = lines
    }

    /// All values of the header of this name (in any case) as one, separated by commas; null if there is none.
    let valueOf (name: string) (head: RequestHead) : string | null =
        let mutable value: string | null = null

        for struct (known, next) in head.Lines do
            if known.Equals(name, StringComparison.OrdinalIgnoreCase) then
                value <-
                    match value with
                    | null -> next
                    | before -> String.Concat(before, ",", next)

        value
