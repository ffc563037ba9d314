/// The Connection field as the server hands it on.
///
/// Kestrel replaces a Connection field in which it knows exactly one option by that option: of `keep-alive, X-Hop` it
/// keeps `keep-alive`, and nobody learns any more that X-Hop is not to be forwarded (RFC 9110 section 7.6.1). It does
/// not where it knows no option, or two. So the value is decoded to one that means the same and survives.
module K8sReq.Proxy.ConnectionField

open System

let private isOption (name: string) (option: string) =
    option.Equals(name, StringComparison.OrdinalIgnoreCase)

let private isKnown option =
    isOption "close" option
    || isOption "keep-alive" option
    || isOption "upgrade" option

/// A value that Kestrel understands as it does the given one, and keeps. Keep-alive is what HTTP/1.1 does anyway, and
/// nothing is ever upgraded here, so both can be left out; with close, keep-alive stands as the second known option.
let rewrite (value: string) : string =
    let options =
        value.Split(',', StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries)

    let others = options |> Array.filter (isKnown >> not)

    if others.Length = 0 then
        value
    elif options |> Array.exists (isOption "close") then
        String.Join(", ", Array.append [| "close"; "keep-alive" |] others)
    else
        String.Join(", ", others)

/// To decode a Connection field's value with. The longest that is added is "keep-alive, ".
let encoding = KestrelFields(rewrite, 16)
