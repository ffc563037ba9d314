namespace K8sReq.Core

open System

/// Which port of the Service is meant. A port's name always has a letter in it, so a name and a number cannot be confused.
[<RequireQualifiedAccess>]
type PortRef =
    | Named of string
    | Number of int
    /// The port that has no name, written as an empty text. Only a Service's single port may have none.
    | Unnamed

    override port.ToString() =
        match port with
        | PortRef.Named name -> name
        | PortRef.Number number -> string number
        | PortRef.Unnamed -> "without a name"

module PortRef =
    // Service port names are IANA service names (RFC 6335 section 5.1): the API server accepts no others.
    let private isPortName (text: string) =
        text.Length <= 15
        && text
           |> Seq.forall (fun c -> Char.IsAsciiLetterLower c || Char.IsAsciiDigit c || c = '-')
        && text |> Seq.exists Char.IsAsciiLetterLower
        && not (text.StartsWith '-' || text.EndsWith '-' || text.Contains "--")

    /// `http` is a port's name, `8080` its number; an empty text is the port without a name.
    let tryParse (text: string) : PortRef option =
        if text = "" then
            Some PortRef.Unnamed
        elif text.Length <= 5 && text |> Seq.forall Char.IsAsciiDigit then
            let number = int text

            if number >= 1 && number <= 65535 then
                Some(PortRef.Number number)
            else
                None
        elif isPortName text then
            Some(PortRef.Named text)
        else
            None
