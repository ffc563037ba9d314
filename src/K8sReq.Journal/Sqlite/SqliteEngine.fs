/// A journal in a folder on disk, for one program at a time.
module K8sReq.Journal.Sqlite.SqliteEngine

open System
open K8sReq.Journal

/// In this folder. Dead letters have so many bytes.
let create (folder: string) (deadLetterLimit: int64) : JournalEngine =
    let file = JournalFile.pathIn folder

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
    }
