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
    /// The server cannot be reached, or does not do what it is asked.
    | Away of server: string * detail: string
    /// The server does not let this program in, or not do that.
    | Denied of server: string * detail: string
    /// The tables are not there, or of an earlier version, and may not be made.
    | NoTables of server: string * version: int64
    /// A later version has made the tables.
    | TablesTooNew of server: string * version: int64
    /// Other replicas count this one as gone, and have its copies.
    | TakenOver of server: string

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
        | JournalFault.Away(server, detail) -> $"{server} cannot be used: {detail}"
        | JournalFault.Denied(server, detail) ->
            $"{server} refuses this program: {detail}. Check user, password, database and rights"
        | JournalFault.NoTables(server, version) ->
            $"{server} has no tables of version {version}, and this role may not make them: run what `k8sreq journal sql` prints as a role that may"
        | JournalFault.TablesTooNew(server, version) ->
            $"{server} has tables of a later version of this program (format {version}): install that version again"
        | JournalFault.TakenOver server ->
            $"{server} was not reached in time, and other replicas have taken over the copies of this one"
