namespace K8sReq.Journal

/// Why a journal cannot be used now.
[<RequireQualifiedAccess>]
type JournalFault =
    /// Another program has it open.
    | InUse of file: string
    /// A later version has written it. It is left as it is.
    | TooNew of file: string * version: int64
    /// It is damaged, or no journal.
    | Corrupt of file: string * detail: string
    | DiskFull of file: string
    | CannotWrite of file: string * detail: string

module JournalFault =
    /// What happened, to what, and what to do: one line for the operator.
    let describe (fault: JournalFault) : string =
        match fault with
        | JournalFault.InUse file ->
            $"{file} is in use by another program: give each replica a folder of its own, or stop the other one"
        | JournalFault.TooNew(file, version) ->
            $"{file} was written by a later version of this program (format {version}): install that version again, or move the file away"
        | JournalFault.Corrupt(file, detail) ->
            $"{file} is damaged ({detail}): restore it from a backup, or move it away; copies in it are lost then"
        | JournalFault.DiskFull file -> $"no space left for {file}: make room on its volume, or enlarge it"
        | JournalFault.CannotWrite(file, detail) ->
            $"{file} cannot be written: {detail}. Check the volume and its permissions"
