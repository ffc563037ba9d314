namespace K8sReq.Journal

open System
open K8sReq.Core
open K8sReq.Proxy

/// What a piece of work has found.
[<RequireQualifiedAccess>]
type JournalResult =
    | Nothing
    /// The request is a part of this pack.
    | Packed of LivePack
    | Taken of StoredCopy list * rest: RestOfBacklog voption
    | Dropped of copies: int * bytes: int64 * rest: RestOfBacklog voption
    /// A suspect is none any more, or is not in memory: others may be taken.
    | Cleared
    /// Of a copy that is a dead letter now: those that had to go for it, and whether it was a suspect.
    | PushedOut of RemovedLetter list * isCleared: bool
    | Kept of JournalUpkeep
    /// Nothing was done: another process has the copy.
    | Stale

/// The statements of an open journal, within the transaction that has begun. RequestClones have numbers in it.
type IJournalRows =
    /// The number of a RequestClone, which it gets if it has none.
    abstract NumberOf: clone: ObjectKey -> int64

    abstract TryNumberOf: clone: ObjectKey -> int64 voption

    /// No number up to this one is given to another request, also after a restart.
    abstract Reserve: request: int64 -> unit

    abstract InsertRequest: row: RequestRow -> unit

    /// A copy of a request that has a row, for the RequestClone of this number.
    abstract InsertCopy: row: RequestRow * copy: DurableCopy * clone: int64 -> unit

    /// Several requests with their copies, which are in memory.
    abstract InsertPack: id: int64 * pack: RequestPack -> unit

    /// A copy in memory has outlived an attempt, of so many.
    abstract SetAttempts: id: CopyId * attempts: int -> unit

    /// A copy leaves the memory.
    abstract Shelve: copy: ShelvedCopy -> unit

    /// Removes a copy, and its request with the last of what is left of it.
    abstract DeleteCopy: id: CopyId -> unit

    /// A copy in a pack has ended, others of it have not.
    abstract SetEnded: id: CopyId -> unit

    /// All copies of a pack have ended.
    abstract DeletePack: pack: LivePack -> unit

    /// Makes rows of what has not ended of a pack.
    abstract Unpack: pack: int64 -> unit

    /// A copy is a dead letter from now on; those that had to go for it.
    abstract AddLetter: entry: DeadEntry -> RemovedLetter list

    abstract Letters: IKeptLetters

    /// Gives up some of what waits for the RequestClone of this number: how many copies, and their bytes.
    abstract Drop: clone: int64 -> struct (int * int64)

    /// Some of what waits for a RequestClone, and is due, is in memory from now on: so many copies at most, and not many more
    /// bytes than given. The oldest first; suspects only as `Suspects` lets them.
    abstract Take:
        clone: ObjectKey * number: int64 * most: int * mostBytes: int64 * now: DateTimeOffset ->
            StoredCopy list

    /// What is left after that.
    abstract RestOf: clone: int64 -> RestOfBacklog voption

/// An open journal: it belongs to the journal's thread, which does everything in transactions, one after the other. Each member
/// may fail; then the transaction has failed, nobody knows what is kept, and the journal is to be closed.
type IOpenJournal =
    inherit IDisposable

    /// Changes when others have taken over what this process had in memory: see `SendLease`. Zero where nobody does.
    abstract Epoch: int64

    /// Before anything else, and only at the first opening in this process: what is there. Copies that are not to be sent again are
    /// dead letters from now on, kept so long. With what waits after that.
    abstract ReadContent:
        now: DateTimeOffset * keep: TimeSpan -> JournalContent * (ObjectKey * WaitingCopies) list

    /// Numbers of requests up to this one have been given before.
    abstract LastNumber: int64

    /// The latest time that is known from it; 1970 of an empty one.
    abstract LastTime: DateTimeOffset

    /// Whether there is room for so many bytes of requests. `isFull`: the last answer was no.
    abstract HasRoom: isFull: bool * bytes: int64 -> bool

    /// Begins a transaction.
    abstract Begin: unit -> unit

    abstract Rows: IJournalRows

    /// The process is alive, and takes over some of what others that have gone have left, in a journal that several use; within the
    /// transaction that has begun, which has nothing else in it. Dead letters that this makes are kept so long.
    abstract Upkeep: now: DateTimeOffset * keep: TimeSpan -> JournalUpkeep

    /// Everything that waits here, by RequestClone, with all dead letters: after a transaction of which nobody knows whether it was
    /// kept. Within the transaction that has begun.
    abstract Recount: unit -> JournalUpkeep

    /// Removes a request with all its copies, if it is there.
    abstract Remove: request: int64 -> unit

    /// A copy that was taken waits again.
    abstract PutBack: id: CopyId -> unit

    /// Keeps the time: what is due is reckoned from it after the next start, whatever the clock says then.
    abstract SetLastTime: now: DateTimeOffset -> unit

    /// The process ends, and uses the journal no more: others may have what is left of it at once.
    abstract Leave: unit -> unit

    /// Ends the transaction. What it has done is kept then.
    abstract Commit: unit -> unit

/// A journal that several processes use.
type SharedJournal = {
    UpkeepInterval: TimeSpan
    /// Kept by the engine.
    Lease: SendLease
}

/// What keeps a journal: an embedded database, or a server.
[<NoEquality; NoComparison>]
type JournalEngine = {
    /// Opens it. True: for the first time in this process, so that no copy of it is in memory; then the function gets what is
    /// wrong with what the last program has left, even if it cannot be opened after all: the next attempt finds nothing of it.
    Open: bool -> (DamagedLog -> unit) -> Suspects -> Result<IOpenJournal, JournalFault>
    /// What an error of an open one means.
    FaultOf: exn -> JournalFault
    /// Its fault where it has no room.
    NoRoom: JournalFault
    /// Whether others use it too, so that the time is what the journal says (`LastTime`, at each opening), and something is to be
    /// done again and again (`JournalWork.Upkeep`, after so long).
    Shared: SharedJournal voption
}
