namespace K8sReq.TestKit

open System
open K8sReq.Journal
open K8sReq.Journal.Sqlite

/// A journal on disk, in a folder of its own that goes with it.
[<Sealed>]
type TestJournal() =
    let folder = new TestFolder()

    let store =
        new JournalStore(
            TimeProvider.System,
            TestJournal.Engine(folder.Path, 1_000_000L),
            TestJournal.Options 1_000_000L,
            JournalEvents.none,
            fun _ _ -> ()
        )

    /// In this folder, of at most so many bytes.
    static member Engine(folder: string, limit: int64) : JournalEngine = SqliteEngine.create folder limit

    /// Without a linger, of at most so many bytes.
    static member Options(limit: int64) : JournalOptions = {
        Limit = limit
        Linger = TimeSpan.Zero
        DeadLetterKeep = TimeSpan.FromDays 7.0
    }


    member _.Store = store

    interface IDisposable with
        member _.Dispose() =
            (store :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()
