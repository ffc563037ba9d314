namespace K8sReq.Journal

open System
open System.Buffers
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// A copy that leaves the memory and waits in the journal.
type ShelvedCopy = {
    Id: CopyId
    Clone: ObjectKey
    Bytes: int64
    Attempts: int
    Accepted: DateTimeOffset
    Due: DateTimeOffset
    /// See `SendLease`.
    Epoch: int64
}

/// Something to be written to the journal, or read from it. All of a batch is one transaction.
[<RequireQualifiedAccess>]
type JournalWork =
    | Append of AcceptedRequest * at: DateTimeOffset * kept: TaskCompletionSource<bool>
    | Attempted of CopyId * clone: ObjectKey * attempts: int * epoch: int64
    | Shelved of ShelvedCopy
    | Ended of EndedCopy
    /// The same of a copy in a pack that has others.
    | EndedPacked of EndedCopy
    /// All copies of a pack have ended.
    | EndedPack of LivePack
    /// A pack is to be made rows of.
    | Unpack of pack: int64
    | Died of DeadEntry
    /// Gives up what waits for a RequestClone, a part of it at a time; with how many copies those were.
    | Drop of clone: ObjectKey * dropped: TaskCompletionSource<int>
    | Take of
        clone: ObjectKey *
        most: int *
        mostBytes: int64 *
        now: DateTimeOffset *
        taken: TaskCompletionSource<StoredCopy list>
    /// Something about dead letters: to be run within the transaction, then told that it is on disk, or that it is not.
    | Letters of run: (IKeptLetters -> unit) * committed: (unit -> unit) * refused: (unit -> unit)
    /// What is to be done now and then: see `IOpenJournal.Upkeep`.
    | Upkeep

module JournalWork =
    /// Whether nobody waits for it: it can be written later.
    let isPatient (work: JournalWork) : bool =
        match work with
        | JournalWork.Attempted _
        | JournalWork.Shelved _
        | JournalWork.Died _
        | JournalWork.EndedPacked _
        | JournalWork.EndedPack _
        | JournalWork.Unpack _
        | JournalWork.Ended _ -> true
        | JournalWork.Append _
        | JournalWork.Take _
        | JournalWork.Letters _
        | JournalWork.Upkeep
        | JournalWork.Drop _ -> false

    /// When the copy that it is about was put into memory, for what changes the copy: see `SendLease`.
    let epoch (work: JournalWork) : int64 voption =
        match work with
        | JournalWork.Attempted(_, _, _, epoch) -> ValueSome epoch
        | JournalWork.Shelved copy -> ValueSome copy.Epoch
        | JournalWork.Ended copy -> ValueSome copy.Epoch
        | JournalWork.Died entry -> ValueSome entry.Epoch
        | JournalWork.EndedPacked _
        | JournalWork.EndedPack _
        | JournalWork.Unpack _
        | JournalWork.Append _
        | JournalWork.Take _
        | JournalWork.Letters _
        | JournalWork.Upkeep
        | JournalWork.Drop _ -> ValueNone

    /// Whether nobody knows what waits if its transaction has failed.
    let isUncertain (work: JournalWork) : bool =
        match work with
        | JournalWork.Letters _
        | JournalWork.Upkeep
        | JournalWork.Drop _ -> true
        | _ -> false

    /// Whether it takes next to no room, and makes some.
    let makesRoom (work: JournalWork) : bool =
        match work with
        | JournalWork.EndedPacked _
        | JournalWork.EndedPack _ -> true
        | _ -> false

    /// Whether it is a request that is to be kept.
    let isAppend (work: JournalWork) : bool =
        match work with
        | JournalWork.Append _ -> true
        | _ -> false

    /// How many bytes it adds to the file, about.
    let bytesToAdd (work: JournalWork) : int64 =
        match work with
        | JournalWork.Append(request, _, _) -> request.Bytes
        | _ -> 0L

    /// What is left of it once others have taken over what was in memory: that copies have ended frees their room here.
    let ofAbandoned (work: JournalWork) : JournalWork list =
        match work with
        | JournalWork.EndedPacked copy -> [ JournalWork.Ended copy ]
        | JournalWork.EndedPack pack -> [ for copy in pack.Ended -> JournalWork.Ended copy ]
        | JournalWork.Unpack _ -> []
        | work -> [ work ]

    /// Tells who waits for it that it was not done.
    let refuse (work: JournalWork) : unit =
        match work with
        | JournalWork.Append(_, _, kept) -> KeptRequests.TellRefused kept
        | JournalWork.Take(_, _, _, _, taken) -> taken.TrySetResult [] |> ignore
        | JournalWork.Drop(_, dropped) -> dropped.TrySetResult 0 |> ignore
        | JournalWork.Letters(_, _, refused) -> refused ()
        | JournalWork.Upkeep
        | JournalWork.Attempted _
        | JournalWork.Shelved _
        | JournalWork.Died _
        | JournalWork.EndedPacked _
        | JournalWork.EndedPack _
        | JournalWork.Unpack _
        | JournalWork.Ended _ -> ()
