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

    // IPAddress reads "1" and "0x7f.1" as well; an address as people write it has all four parts.
    let private isDottedQuad (text: string) =
        text.Split('.').Length = 4
        && text |> Seq.forall (fun c -> Char.IsAsciiDigit c || c = '.')

    let private tryHost (text: string) =
        let bracketed = text.StartsWith '[' && text.EndsWith ']'

        if text = "" then
            Some ListenHost.Any
        elif text = "localhost" then
            Some ListenHost.Localhost
        elif bracketed || isDottedQuad text then
            match IPAddress.TryParse(text.Trim('[', ']')) with
            | true, NonNull ip -> Some(ListenHost.Address ip)
            | _ -> None
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
