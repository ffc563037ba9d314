namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// Where a PostgreSQL database is, as a connection URI says: one server, or several of which the one that takes writes is meant.
type PostgresAddress = {
    /// Names or addresses, with their ports.
    Hosts: (string * int) list
    Database: string
    User: string
    /// None where it comes from elsewhere.
    Password: Secret option
    /// What else the URI asks for, by the names that libpq has for it.
    Options: (string * string) list
}

module PostgresAddress =
    let private schemes = [ "postgres://"; "postgresql://" ]

    /// Whether a text means such an address, be it right or wrong.
    let isMeant (text: string) : bool =
        schemes
        |> List.exists (fun scheme -> text.StartsWith(scheme, StringComparison.OrdinalIgnoreCase))

    let private oneOf (values: string list) (value: string) = List.contains value values

    // What is understood, and which values each may have.
    let private options: (string * (string -> bool)) list = [
        "sslmode", oneOf [ "disable"; "allow"; "prefer"; "require"; "verify-ca"; "verify-full" ]
        "sslrootcert", (<>) ""
        "sslcert", (<>) ""
        "sslkey", (<>) ""
        "channel_binding", oneOf [ "disable"; "prefer"; "require" ]
        "connect_timeout", Setting.tryCount 60 >> Option.isSome
        "target_session_attrs", oneOf [ "any"; "read-write"; "primary" ]
        "application_name", fun _ -> true
    ]

    let private decode (text: string) : string = Uri.UnescapeDataString text

    let private tryOption (text: string) : (string * string) option =
        match text.IndexOf '=' with
        | -1 -> None
        | equals ->
            let name, value = text.Substring(0, equals), decode (text.Substring(equals + 1))

            options
            |> List.tryFind (fun (known, isValid) -> known = name && isValid value)
            |> Option.map (fun _ -> name, value)

    let private tryHost (text: string) : (string * int) option =
        let split (colon: int) =
            if colon < 0 then
                Some(text, 5432)
            else
                Setting.tryCount 65535 (text.Substring(colon + 1))
                |> Option.map (fun port -> text.Substring(0, colon), port)

        // The brackets of an IPv6 address have colons.
        match text.LastIndexOf ']' with
        | -1 -> split (text.IndexOf ':')
        | bracket when bracket = text.Length - 1 -> split -1
        | bracket when text[bracket + 1] = ':' -> split (bracket + 1)
        | _ -> None
        |> Option.map (fun (host: string, port) -> decode (host.Trim('[', ']')), port)
        |> Option.filter (fun (host, _) -> host <> "")

    let private cutAt (index: int) (text: string) : string * string =
        if index < 0 then
            text, ""
        else
            text.Substring(0, index), text.Substring(index + 1)

    // All of them, if each is one.
    let private tryEach (tryOne: string -> 'T option) (texts: string[]) : 'T list option =
        let found = texts |> Array.map tryOne

        if Array.forall Option.isSome found then
            Some(found |> Array.choose id |> List.ofArray)
        else
            None

    /// None if it is not one, or asks for something that is not understood.
    let tryParse (text: string) : PostgresAddress option = option {
        let! scheme =
            schemes
            |> List.tryFind (fun scheme -> text.StartsWith(scheme, StringComparison.OrdinalIgnoreCase))

        let rest = text.Substring scheme.Length
        let beforeQuery, query = cutAt (rest.IndexOf '?') rest
        let authority, path = cutAt (beforeQuery.IndexOf '/') beforeQuery

        let userInfo, hosts =
            match authority.LastIndexOf '@' with
            | -1 -> "", authority
            | at -> authority.Substring(0, at), authority.Substring(at + 1)

        let user, password = cutAt (userInfo.IndexOf ':') userInfo

        do!
            if user <> "" && not (path.Contains '/') then
                Some()
            else
                None

        let! hosts = hosts.Split ',' |> tryEach tryHost

        let! options =
            query.Split('&', StringSplitOptions.RemoveEmptyEntries) |> tryEach tryOption

        return {
            Hosts = hosts
            Database = decode (if path = "" then user else path)
            User = decode user
            Password =
                if userInfo.Contains ':' then
                    Some(Secret.create (decode password))
                else
                    None
            Options = options
        }
    }

    /// `HOST:PORT`, several with commas between, IPv6 addresses in brackets.
    let hosts (address: PostgresAddress) : string =
        address.Hosts
        |> List.map (fun (host, port) ->
            if host.Contains ':' then
                $"[{host}]:{port}"
            else
                $"{host}:{port}")
        |> String.concat ","

    /// For people: without the password.
    let describe (address: PostgresAddress) : string =
        $"postgres://{hosts address}/{address.Database}"

/// Where durable copies are kept.
[<RequireQualifiedAccess>]
type JournalPlace =
    | Folder of string
    | Postgres of PostgresAddress

module JournalPlace =
    /// For people: without a password.
    let describe (place: JournalPlace) : string =
        match place with
        | JournalPlace.Folder folder -> folder
        | JournalPlace.Postgres address -> PostgresAddress.describe address
