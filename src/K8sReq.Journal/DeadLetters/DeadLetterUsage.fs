namespace K8sReq.Journal

open System.Collections.Generic
open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// Why a dead letter is no longer kept, a replay aside.
[<RequireQualifiedAccess>]
type DeadLetterLoss =
    /// Its time was over.
    | Aged
    /// There was no room for more: the oldest went.
    | Full
    /// Somebody has asked for it.
    | Asked

/// What is kept of dead letters, by RequestClone.
[<Struct>]
type DeadLetterCount = { Letters: int64; Bytes: int64 }

/// How many dead letters are kept, and what has become of the others since the process began. From any thread.
[<Sealed>]
type DeadLetterUsage() =
    // Guards everything below.
    let gate = Lock()
    let kept = Dictionary<ObjectKey, DeadLetterCount>()
    let added = Dictionary<DeadCause, int64>()
    let lost = Dictionary<DeadLetterLoss, int64>()
    let unsent = HashSet<ObjectKey>()

    let keptOf clone =
        match kept.TryGetValue clone with
        | true, count -> count
        | false, _ -> { Letters = 0L; Bytes = 0L }

    let change clone letters bytes =
        let before = keptOf clone

        match before.Letters + letters with
        | count when count <= 0L -> kept.Remove clone |> ignore
        | count ->
            kept[clone] <- {
                Letters = count
                Bytes = before.Bytes + bytes
            }

    let valueOf (counts: Dictionary<'Key, int64>) key =
        match counts.TryGetValue key with
        | true, count -> count
        | false, _ -> 0L

    let count (counts: Dictionary<'Key, int64>) (key: 'Key) = counts[key] <- valueOf counts key + 1L

    /// What was found in the file at its opening.
    member _.Found(clone: ObjectKey, found: DeadLetterCount) : unit =
        exclusively gate (fun () -> kept[clone] <- found)

    /// The same of all that there are.
    member _.FoundAll(found: (ObjectKey * DeadLetterCount) list) : unit =
        exclusively gate (fun () ->
            kept.Clear()

            for clone, count in found do
                kept[clone] <- count)

    member _.Added(clone: ObjectKey, bytes: int64, cause: DeadCause) : unit =
        exclusively gate (fun () ->
            change clone 1L bytes
            count added cause)

    /// It is a copy again.
    member _.Replayed(clone: ObjectKey, bytes: int64) : unit =
        exclusively gate (fun () -> change clone -1L -bytes)

    member _.Lost(clone: ObjectKey, bytes: int64, why: DeadLetterLoss) : unit =
        exclusively gate (fun () ->
            change clone -1L -bytes
            count lost why)

    /// It has some that are to be sent to its sink.
    member _.AddUnsent(clone: ObjectKey) : unit =
        exclusively gate (fun () -> unsent.Add clone |> ignore)

    /// Those that were added since the last time.
    member _.TakeUnsent() : ObjectKey list =
        exclusively gate (fun () ->
            let taken = List.ofSeq unsent
            unsent.Clear()
            taken)

    member _.Of(clone: ObjectKey) : DeadLetterCount =
        exclusively gate (fun () -> keptOf clone)

    /// Every RequestClone that has some.
    member _.Kept: (ObjectKey * DeadLetterCount) list =
        exclusively gate (fun () -> [ for pair in kept -> pair.Key, pair.Value ])

    member _.AddedBy(cause: DeadCause) : int64 =
        exclusively gate (fun () -> valueOf added cause)

    member _.LostBy(why: DeadLetterLoss) : int64 =
        exclusively gate (fun () -> valueOf lost why)
