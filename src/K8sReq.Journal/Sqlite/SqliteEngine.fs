/// A journal in a folder on disk, for one program at a time.
module K8sReq.Journal.Sqlite.SqliteEngine

open System
open K8sReq.Journal

/// In this folder, which is created if it is not there. `limit`: bytes that its copies may take; dead letters have a quarter of it
/// beside them.
let create (folder: string) (limit: int64) : JournalEngine =
    let file = JournalFile.pathIn folder
    let deadLetterLimit = limit / 4L

    {
        Open =
            fun isFirst tell suspects ->
                match JournalFile.openIn isFirst tell folder with
                | Error fault -> Error fault
                | Ok database ->
                    try
                        Ok(new JournalRows(folder, database, deadLetterLimit, suspects) :> IOpenJournal)
                    with error ->
                        (database :> IDisposable).Dispose()
                        Error(SqliteFault.ofError file error)
        FaultOf = SqliteFault.ofError file
        NoRoom = JournalFault.DiskFull file
        Shared = ValueNone
    }
