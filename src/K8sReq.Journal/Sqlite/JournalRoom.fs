namespace K8sReq.Journal.Sqlite

open System
open System.IO

/// The room on the journal's volume. Where it is used up to the last byte nothing more can be done: copies that wait in the file
/// cannot be taken out, and that copies have ended cannot be written. So requests are refused before that.
module JournalRoom =
    /// Kept free, in bytes: the log grows to 16 MiB, and what is in it may have no pages in the file yet.
    let reserve = 32L * 1024L * 1024L

    // Requests come again with so much more, so that the log does not tell of every copy that makes room for another.
    let private margin = reserve / 4L

    // Nobody knows where the system does not say.
    let private free (folder: string) : int64 =
        try
            DriveInfo(folder).AvailableFreeSpace
        with
        | :? IOException
        | :? UnauthorizedAccessException
        | :? ArgumentException -> Int64.MaxValue

    /// Whether so many bytes of requests can be added, and the reserve stays. The file does not shrink: what has ended leaves
    /// pages in it that are used again. `isFull`: the last answer was no.
    let isThere (folder: string) (database: Database) (isFull: bool) (bytes: int64) : bool =
        let wanted = reserve + bytes + (if isFull then margin else 0L)
        let free = free folder

        let unused () =
            try
                database.Number "PRAGMA freelist_count" * database.Number "PRAGMA page_size"
            with SqliteError _ ->
                // The commit will tell.
                0L

        free >= wanted || free + unused () >= wanted
