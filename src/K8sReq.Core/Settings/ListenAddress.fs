namespace K8sReq.Core

open System
open System.Net

/// Which of the machine's addresses to listen on.
[<RequireQualifiedAccess>]
type ListenHost =
    /// All of them, IPv4 and IPv6.
    | Any
    /// The loopback interface, IPv4 and IPv6.
    | Localhost
    | Address of IPAddress

/// An address to listen on, in Go's spelling: `:8080`, `127.0.0.1:9556`, `[::1]:80`, `localhost:8080`.
/// Port 0 lets the system choose one.
type ListenAddress = {
    Host: ListenHost
    Port: int
} with

    override address.ToString() =
        match address.Host with
        | ListenHost.Any -> $":{address.Port}"
        | ListenHost.Localhost -> $"localhost:{address.Port}"
        | ListenHost.Address ip -> IPEndPoint(ip, address.Port).ToString()

module ListenAddress =
    let private tryPort (text: string) =
        if
            text <> ""
            && text.Length <= 5
            && text |> Seq.forall Char.IsAsciiDigit
            && int text <= 65535
        then
            Some(int text)
        else
            None

    // Here a zone says something: which interface a link-local address belongs to.
    let private tryAddress (text: string) =
        match text.IndexOf '%' with
        | -1 -> CanonicalAddress.tryParse text
        | zone ->
            match CanonicalAddress.tryParse (text.Substring(0, zone)), IPAddress.TryParse text with
            | Some plain, (true, NonNull zoned) when plain.AddressFamily = zoned.AddressFamily -> Some zoned
            | _ -> None

    let private tryHost (text: string) =
        let isBracketed = text.Length > 2 && text.StartsWith '[' && text.EndsWith ']'

        if text = "" then
            Some ListenHost.Any
        elif text = "localhost" then
            Some ListenHost.Localhost
        elif isBracketed then
            tryAddress (text.Substring(1, text.Length - 2)) |> Option.map ListenHost.Address
        elif not (text.Contains ':') then
            tryAddress text |> Option.map ListenHost.Address
        else
            None

    /// Reads `HOST:PORT`, where HOST is empty, an IPv4 address, a bracketed IPv6 address or `localhost`.
    let tryParse (text: string) : ListenAddress option =
        match text.LastIndexOf ':' with
        | -1 -> None
        | colon ->
            match tryHost (text.Substring(0, colon)), tryPort (text.Substring(colon + 1)) with
            | Some host, Some port -> Some { Host = host; Port = port }
            | _ -> None
