namespace K8sReq.Core

open System
open System.Globalization
open System.Net

/// An IP address in the one spelling that everybody reads alike. `IPAddress.Parse` reads `010.0.0.1` as octal, and `127.1`
/// or `2130706433` as addresses; Kubernetes and Go mean decimal, or refuse them.
module CanonicalAddress =
    let private tryByte (text: string) : byte option =
        let isNumber =
            text.Length >= 1
            && text.Length <= 3
            && text |> Seq.forall Char.IsAsciiDigit
            && (text = "0" || text[0] <> '0')

        if isNumber && int text <= 255 then
            Some(byte (int text))
        else
            None

    // Four decimal numbers, none with a leading zero.
    let private tryQuad (text: string) : byte list option =
        let bytes = text.Split '.' |> List.ofArray |> List.map tryByte

        if bytes.Length = 4 && List.forall Option.isSome bytes then
            Some(List.choose id bytes)
        else
            None

    let private tryGroup (text: string) : byte list option =
        if text.Length >= 1 && text.Length <= 4 && text |> Seq.forall Char.IsAsciiHexDigit then
            let number =
                Int32.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)

            Some [ byte (number >>> 8); byte (number &&& 0xff) ]
        else
            None

    // The groups on one side of "::". `mayEndInQuad`: whether the last 32 bits may be written as an IPv4 address.
    let private tryGroups (mayEndInQuad: bool) (text: string) : byte list option =
        if text = "" then
            Some []
        else
            let parts = text.Split ':' |> List.ofArray

            let groups =
                parts
                |> List.mapi (fun index part ->
                    if mayEndInQuad && index = parts.Length - 1 && part.Contains '.' then
                        tryQuad part
                    else
                        tryGroup part)

            if List.forall Option.isSome groups then
                Some(List.concat (List.choose id groups))
            else
                None

    // RFC 4291 section 2.2; a zone (RFC 4007) is no part of it.
    let private tryIPv6 (text: string) : byte list option =
        match text.IndexOf "::" with
        | -1 -> tryGroups true text |> Option.filter (fun bytes -> bytes.Length = 16)
        | gap ->
            match tryGroups false (text.Substring(0, gap)), tryGroups true (text.Substring(gap + 2)) with
            // "::" stands for one group of zeros at least.
            | Some left, Some right when left.Length + right.Length <= 14 ->
                Some(left @ List.replicate (16 - left.Length - right.Length) 0uy @ right)
            | _ -> None

    /// Reads an IPv4 address of four decimal numbers without leading zeros, or an IPv6 address without zone and brackets.
    let tryParse (text: string) : IPAddress option =
        let bytes = if text.Contains ':' then tryIPv6 text else tryQuad text

        bytes |> Option.map (fun bytes -> IPAddress(Array.ofList bytes))
