namespace K8sReq.Journal.Sqlite

open SQLitePCL
open K8sReq.Journal

module SqliteFault =
    /// What an error means for the journal in this file: SQLite's own, or one of the system (its log could not be synced).
    // The primary result code is the low byte of an extended one.
    let ofError (file: string) (error: exn) : JournalFault =
        match error with
        | SqliteError(code, message) ->
            match code &&& 0xff with
            | primary when primary = raw.SQLITE_BUSY || primary = raw.SQLITE_LOCKED -> JournalFault.InUse file
            | primary when primary = raw.SQLITE_CORRUPT || primary = raw.SQLITE_NOTADB ->
                JournalFault.Corrupt(file, message)
            | primary when primary = raw.SQLITE_FULL -> JournalFault.DiskFull file
            | _ -> JournalFault.CannotWrite(file, message)
        | error -> JournalFault.CannotWrite(file, error.Message)
