namespace K8sReq.TestKit

open System
open K8sReq.Journal.Sqlite

/// A journal on disk, in a folder of its own that goes with it.
[<Sealed>]
type TestJournal() =
    let folder = new TestFolder()

    let store =
        new SqliteStore(
            TimeProvider.System,
            folder.Path,
            1_000_000L,
            TimeSpan.Zero,
            ignore,
            ignore,
            ignore,
            ignore
        )

    member _.Store = store

    interface IDisposable with
        member _.Dispose() =
            (store :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()
