namespace K8sReq.Core

open System

/// The request target: what stands between the method and the version on the request line (RFC 9112 section 3.2).
module RequestTarget =
    // The rest behind "scheme://", or none if the target is not absolute.
    let private tryAfterScheme (raw: string) : string voption =
        match
            if raw.StartsWith '/' then
                -1
            else
                raw.IndexOf("://", StringComparison.Ordinal)
        with
        | -1 -> ValueNone
        | schemeEnd -> ValueSome(raw.Substring(schemeEnd + 3))

    /// The host and port that an absolute target names, as they are written there; none for other targets.
    let tryAuthority (raw: string) : string voption =
        tryAfterScheme raw
        |> ValueOption.map (fun rest ->
            let authority =
                match rest.IndexOfAny [| '/'; '?' |] with
                | -1 -> rest
                | pathStart -> rest.Substring(0, pathStart)

            // User information is no part of the host.
            authority.Substring(authority.LastIndexOf '@' + 1))

    /// The target in the form that a server is asked in: path and query, every byte as it was sent.
    /// Of an absolute target (`http://a.example/x?y`), which clients send to proxies, scheme and authority are cut off.
    let originForm (raw: string) : string =
        match tryAfterScheme raw with
        | ValueNone -> raw
        | ValueSome rest ->
            match rest.IndexOfAny [| '/'; '?' |] with
            | -1 -> "/"
            | start when rest[start] = '/' -> rest.Substring start
            | start -> "/" + rest.Substring start
