namespace K8sReq.Core

open System

/// The request target: what stands between the method and the version on the request line (RFC 9112 section 3.2).
module RequestTarget =
    /// The target in the form that a server is asked in: path and query, every byte as it was sent.
    /// Of an absolute target (`http://a.example/x?y`), which clients send to proxies, scheme and authority are cut off.
    let originForm (raw: string) : string =
        if raw.StartsWith '/' then
            raw
        else
            let schemeEnd = raw.IndexOf("://", StringComparison.Ordinal)

            if schemeEnd < 0 then
                raw
            else
                let rest = raw.AsSpan(schemeEnd + 3)

                match rest.IndexOfAny('/', '?') with
                | -1 -> "/"
                | start when rest[start] = '/' -> rest.Slice(start).ToString()
                | start -> "/" + rest.Slice(start).ToString()
