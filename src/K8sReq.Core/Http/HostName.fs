namespace K8sReq.Core

open System
open System.Globalization
open System.Net.Sockets

/// Why a text is no host name.
[<RequireQualifiedAccess>]
type HostNameError =
    | Empty
    | TooLong of length: int
    | HasScheme
    | Wildcard
    | BadCharacter of char
    | BadLabel of label: string
    | BadPort of port: string
    | BadAddress of address: string

/// A host as it is matched: lower case, without port and without the trailing dot of a fully qualified name.
/// Names (RFC 1123, with the underscore that is met in practice), IPv4 addresses and bracketed IPv6 addresses.
type HostName =
    private
    | HostName of string

    /// The normal form.
    member host.Value = let (HostName value) = host in value
    override host.ToString() = host.Value

module HostName =
    /// The part of a `Host` header that names the host: no port, no trailing dot; letters are left as they are.
    /// Makes no judgement: of a text that is no host, some part of it comes back. Allocates nothing, so that
    /// every request can be looked up by it.
    let significant (host: ReadOnlySpan<char>) : ReadOnlySpan<char> =
        let colon = host.LastIndexOf ':'
        // A colon inside brackets belongs to an IPv6 address.
        let named =
            if colon >= 0 && host.Slice(colon).IndexOf ']' < 0 then
                host.Slice(0, colon)
            else
                host

        if named.Length > 1 && named[named.Length - 1] = '.' then
            named.Slice(0, named.Length - 1)
        else
            named

    let private isLetterOrDigit c = Char.IsAsciiLetterOrDigit c

    let private isNameCharacter c =
        isLetterOrDigit c || c = '-' || c = '_' || c = '.'

    let private isLabel (label: string) =
        label.Length >= 1
        && label.Length <= 63
        && label[0] <> '-'
        && label[label.Length - 1] <> '-'

    // RFC 3986 section 3.2.3 allows an empty port. Read digit by digit: the library's reader allocates.
    let private isPortText (text: ReadOnlySpan<char>) =
        let mutable port = 0
        let mutable isNumber = text.Length <= 5

        for digit in text do
            isNumber <- isNumber && Char.IsAsciiDigit digit
            port <- port * 10 + int digit - int '0'

        isNumber && port <= 65535

    let private isPort (text: string) = isPortText (text.AsSpan())

    /// Whether what follows the significant part of a `Host` header is a port, an empty one, or nothing. Allocates nothing.
    let hasPort (host: ReadOnlySpan<char>) : bool =
        let colon = host.LastIndexOf ':'

        colon < 0
        || host.Slice(colon).IndexOf ']' >= 0
        || isPortText (host.Slice(colon + 1))

    let private parseAddress (name: string) =
        let inner = name.Trim('[', ']')

        match CanonicalAddress.tryParse inner with
        | Some address when address.AddressFamily = AddressFamily.InterNetworkV6 && name = $"[{inner}]" ->
            Ok(HostName $"[{address}]")
        | _ -> Error(HostNameError.BadAddress name)

    let private parseName (name: string) =
        match name |> Seq.tryFind (isNameCharacter >> not) with
        | Some c -> Error(HostNameError.BadCharacter c)
        | None when name.Length > 253 -> Error(HostNameError.TooLong name.Length)
        | None ->
            match name.Split '.' |> Array.tryFind (isLabel >> not) with
            | Some label -> Error(HostNameError.BadLabel label)
            | None -> Ok(HostName(name.ToLowerInvariant()))

    /// Reads any spelling that means the same host: capitals, a port, a trailing dot.
    let parse (text: string) : Result<HostName, HostNameError> =
        let name = (significant (text.AsSpan())).ToString()
        let afterName = text.Substring name.Length
        let port = afterName.TrimStart('.').TrimStart(':')

        if text = "" || name = "" then
            Error HostNameError.Empty
        elif text.Contains "://" then
            Error HostNameError.HasScheme
        elif text.Contains '*' then
            Error HostNameError.Wildcard
        elif text.StartsWith '[' then
            if isPort port then
                parseAddress name
            else
                Error(HostNameError.BadPort port)
        else
            match parseName name with
            | Error e -> Error e
            | Ok _ when not (isPort port) -> Error(HostNameError.BadPort port)
            | Ok host -> Ok host

    /// What users can do about it, to follow "must be".
    let describeError (error: HostNameError) =
        match error with
        | HostNameError.Empty -> "a host name; it is empty"
        | HostNameError.TooLong length -> $"a host name of at most 253 characters; it has {length}"
        | HostNameError.HasScheme -> "a host name without a scheme"
        | HostNameError.Wildcard -> "one host name; wildcards are not matched"
        | HostNameError.BadCharacter '/' -> "a host name without a path"
        | HostNameError.BadCharacter ' ' -> "a host name without spaces"
        | HostNameError.BadCharacter c when c > '\127' ->
            "a host name in its ASCII form (xn--…), which is what clients send"
        | HostNameError.BadCharacter c -> $"a host name; '{c}' cannot be part of one"
        | HostNameError.BadLabel "" -> "a host name; it has an empty label"
        | HostNameError.BadLabel label ->
            $"a host name; the label \"{label}\" must have 1 to 63 characters and neither begin nor end with '-'"
        | HostNameError.BadPort port -> $"a host name; \"{port}\" is no port"
        | HostNameError.BadAddress address -> $"a host name or address; \"{address}\" is neither"
