namespace K8sReq.Core

open System
open System.Collections.Frozen

/// One line of a head: a field's name and one value.
type HeaderLine = (struct (string * string))

/// Which header fields a copy carries.
module ForwardHeaders =
    // RFC 9110 section 7.6.1, with the older fields that mean something for one connection only; and those that frame the message or
    // route it, which the sender of the copy writes itself.
    let private notCarried =
        [
            "Connection"
            "Keep-Alive"
            "Proxy-Authenticate"
            "Proxy-Authorization"
            "Proxy-Connection"
            "TE"
            "Trailer"
            "Transfer-Encoding"
            "Upgrade"
            "Content-Length"
            "Host"
        ]
            .ToFrozenSet(StringComparer.OrdinalIgnoreCase)

    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private listMembers (value: string) =
        value.Split(',', StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries)

    /// Whether the proxy alone says what a copy has in the field of this name.
    let isOwn (name: string) : bool =
        notCarried.Contains name || isNamed "Via" name

    /// The fields that the Connection fields among these lines name, Connection itself aside.
    let private connectionOptions (lines: HeaderLine[]) : string[] =
        let mutable options = Array.empty<string>

        for struct (name, value) in lines do
            if isNamed "Connection" name then
                options <- Array.append options (listMembers value)

        options

    let private isNamedBy (options: string[]) (name: string) =
        let mutable isFound = false

        for option in options do
            isFound <- isFound || isNamed option name

        isFound

    let private isCarried (options: string[]) (name: string) =
        not (notCarried.Contains name || isNamedBy options name)

    // A member is "protocol received-by [comment]"; the comment may hold commas, and then its pieces have
    // no received-by that is ours.
    let private receivedBy (viaMember: string) =
        match viaMember.Split([| ' '; '\t' |], StringSplitOptions.RemoveEmptyEntries) with
        | [||]
        | [| _ |] -> ""
        | parts -> parts[1]

    /// The entry of a Via field that already names this proxy, if there is one: the request has been here before (RFC 9110
    /// section 7.6.3).
    let tryFindOwnVia (viaName: string) (lines: HeaderLine[]) : string voption =
        let mutable found = ValueNone

        for struct (name, value) in lines do
            if found.IsNone && isNamed "Via" name then
                match
                    listMembers value
                    |> Array.tryFind (fun entry -> isNamed viaName (receivedBy entry))
                with
                | Some entry -> found <- ValueSome entry
                | None -> ()

        found

    /// The value of the Via header of copies that are sent by a proxy of this name (RFC 9110 section 7.6.3).
    let viaValue (viaName: string) : string = $"1.1 {viaName}"

    /// The lines that a copy carries, in their order: all end-to-end fields, then a Via line of our own.
    /// Left out: hop-by-hop headers, those that Connection names, and Host and Content-Length, which `WireHead` writes.
    let carried (via: string) (lines: HeaderLine[]) : HeaderLine[] =
        let named = connectionOptions lines
        let mutable count = 1

        for struct (name, _) in lines do
            if isCarried named name then
                count <- count + 1

        let carried = Array.zeroCreate<HeaderLine> count
        let mutable next = 0

        for struct (name, _) as line in lines do
            if isCarried named name then
                carried[next] <- line
                next <- next + 1

        carried[next] <- struct ("Via", via)
        carried
