namespace K8sReq.Journal.Sqlite

open System
open System.IO

/// The room on the journal's volume. Where it is used up to the last byte nothing more can be done: copies that wait in the file
/// cannot be taken out, and that copies have ended cannot be written. So requests are refused before that. Of the journal's
/// thread alone.
///
/// `free`: the bytes that are free on the volume; `unused`: those of the file that nothing is in.
[<Sealed>]
type JournalRoom(clock: TimeProvider, free: unit -> int64, unused: unit -> int64) =
    // Kept free, in bytes: the log grows to 16 MiB, and what is in it may have no pages in the file yet.
    static let reserve = 32L * 1024L * 1024L

    // Requests come again with so much more, so that the log does not tell of every copy that makes room for another.
    static let margin = reserve / 4L

    // With so much more than that it is not asked again with each commit, but after a while: nobody fills so much in that time.
    static let plenty = 1024L * 1024L * 1024L
    static let whileThereIsPlenty = TimeSpan.FromMilliseconds 100.0

    let mutable askedAt = 0L
    // Beyond the reserve, when it was asked, without what has been added since.
    let mutable spare = 0L

    let ask (isFull: bool) (bytes: int64) : bool =
        let wanted = reserve + bytes + (if isFull then margin else 0L)
        let free = free ()
        askedAt <- clock.GetTimestamp()
        spare <- free - wanted
        free >= wanted || free + unused () >= wanted

    /// Of a journal in this folder.
    static member Of(folder: string, database: Database) : JournalRoom =
        // Nobody knows where the system does not say.
        let free () =
            try
                DriveInfo(folder).AvailableFreeSpace
            with
            | :? IOException
            | :? UnauthorizedAccessException
            | :? ArgumentException -> Int64.MaxValue

        let unused () =
            try
                database.Number "PRAGMA freelist_count" * database.Number "PRAGMA page_size"
            with SqliteError _ ->
                // The commit will tell.
                0L

        JournalRoom(TimeProvider.System, free, unused)

    /// Whether so many bytes of requests can be added, and the reserve stays. The file does not shrink: what has ended leaves
    /// pages in it that are used again. `isFull`: the last answer was no.
    member _.IsThere(isFull: bool, bytes: int64) : bool =
        if spare - bytes >= plenty && clock.GetElapsedTime askedAt < whileThereIsPlenty then
            spare <- spare - bytes
            true
        else
            ask isFull bytes
