/// `k8sreq journal`
module K8sReq.Host.Arguments.JournalReader

open System
open K8sReq.Core

// It stands in SQL as it is.
let private tryRole (text: string) : string option =
    let isOfRole letter =
        Char.IsAsciiLetterOrDigit letter || letter = '_' || letter = '-'

    if text <> "" && Seq.forall isOfRole text then
        Some text
    else
        None

let private role =
    Flag<string>(
        "--role",
        "ROLE",
        "a name of letters, digits, _ and -",
        "Print the rights that this role needs as well.",
        tryRole
    )

let reader: CommandReader =
    CommandReader.group "journal" "Prepare a journal in PostgreSQL." [] [
        CommandReader.create
            "sql"
            "Print the SQL that creates a journal's tables, for a role that may not."
            [ role ]
            [ "journal sql --role k8sreq | psql" ]
            (fun result -> Ok(Command.JournalSql(Flag.tryGet role result)))
    ]
