namespace K8sReq.Core

open System
open System.Collections.Frozen

/// One line of a head: a field's name and one value.
type HeaderLine = (struct (string * string))

/// Which header fields a copy carries.
module ForwardHeaders =
    // RFC 9110 section 7.6.1, with the older fields that mean something for one connection only.
    let private hopByHop =
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
        ]
            .ToFrozenSet(StringComparer.OrdinalIgnoreCase)

    // These frame the message or route it: the sender of the copy writes them itself.
    let private written =
        [ "Content-Length"; "Host" ].ToFrozenSet(StringComparer.OrdinalIgnoreCase)

    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private listMembers (value: string) =
        value.Split(',', StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries)

    /// Whether the proxy alone says what a copy has in the field of this name.
    let isOwn (name: string) : bool =
        hopByHop.Contains name || written.Contains name || isNamed "Via" name

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

        let isCarried (struct (name, _): HeaderLine) =
            not (hopByHop.Contains name)
            && not (written.Contains name)
            && not (isNamedBy named name)

        let mutable count = 1

        for line in lines do
            if isCarried line then
                count <- count + 1

        let carried = Array.zeroCreate<HeaderLine> count
        let mutable next = 0

        for line in lines do
            if isCarried line then
                carried[next] <- line
                next <- next + 1

        carried[next] <- struct ("Via", via)
        carried
