namespace K8sReq.Journal

open System
open System.Collections.Generic
open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// What waits in the file for a RequestClone.
[<Struct>]
type WaitingCopies = {
    Copies: int64
    Bytes: int64
    /// When the first of them may be sent.
    Due: DateTimeOffset
    /// When the first of them was accepted.
    Oldest: DateTimeOffset
}

module WaitingCopies =
    /// Both together.
    let join (one: WaitingCopies) (other: WaitingCopies) : WaitingCopies = {
        Copies = one.Copies + other.Copies
        Bytes = one.Bytes + other.Bytes
        Due = min one.Due other.Due
        Oldest = min one.Oldest other.Oldest
    }

/// Of what is left in the file for a RequestClone once copies have been taken out.
[<Struct>]
type RestOfBacklog = {
    Due: DateTimeOffset
    Oldest: DateTimeOffset
}

/// What the journal holds, by RequestClone, against its limit. A copy counts with its request's bytes, so a request with two
/// durable copies counts twice, though it is stored once. What a database needs besides does not count. From any
/// thread.
[<Sealed>]
type JournalUsage(limit: int64) =
    // Guards everything below: `total` is the sum of what all RequestClones hold.
    let gate = Lock()
    let held = Dictionary<ObjectKey, int64>()
    let waiting = Dictionary<ObjectKey, WaitingCopies>()
    let mutable total = 0L

    let heldBy clone =
        match held.TryGetValue clone with
        | true, bytes -> bytes
        | false, _ -> 0L

    let add clone bytes =
        total <- total + bytes

        match heldBy clone + bytes with
        | 0L -> held.Remove clone |> ignore
        | sum -> held[clone] <- sum

    let wait clone (more: WaitingCopies) =
        waiting[clone] <-
            match waiting.TryGetValue clone with
            | true, before -> WaitingCopies.join before more
            | false, _ -> more

    /// Whether a RequestClone has any copy in the journal.
    member _.Has(clone: ObjectKey) : bool =
        exclusively gate (fun () -> heldBy clone > 0L)

    member _.Total = exclusively gate (fun () -> total)

    /// Takes room for a copy, if there is: a RequestClone may hold half of what the others leave, so that a target that is
    /// away for long does not keep out the others.
    member _.TryReserve(clone: ObjectKey, bytes: int64) : bool =
        exclusively gate (fun () ->
            let own = heldBy clone
            let others = total - own

            if own + bytes <= (limit - others) / 2L then
                add clone bytes
                true
            else
                false)

    /// A copy that had room has none any more: it has ended, or it was not kept.
    member _.Release(clone: ObjectKey, bytes: int64) : unit =
        exclusively gate (fun () -> add clone -bytes)

    /// What was found in the journal: it waits from now on.
    member _.Found(clone: ObjectKey, more: WaitingCopies) : unit =
        exclusively gate (fun () ->
            add clone more.Bytes
            wait clone more)

    /// What waits, all of it, where that was not known: how many copies more, or fewer, those are by RequestClone.
    member _.Recount(found: (ObjectKey * WaitingCopies) list) : (ObjectKey * int64) list =
        exclusively gate (fun () ->
            let found = Map.ofList found

            let sizeOf (copies: WaitingCopies option) =
                match copies with
                | Some copies -> copies.Copies, copies.Bytes
                | None -> 0L, 0L

            let before = Map.ofSeq (waiting |> Seq.map (|KeyValue|))

            let differences = [
                for clone in set (Map.keys before) + set (Map.keys found) do
                    let copiesBefore, bytesBefore = sizeOf (before.TryFind clone)
                    let copies, bytes = sizeOf (found.TryFind clone)
                    add clone (bytes - bytesBefore)

                    if copies <> copiesBefore then
                        clone, copies - copiesBefore
            ]

            waiting.Clear()

            for KeyValue(clone, copies) in found do
                waiting[clone] <- copies

            differences)

    /// A copy that was accepted then waits in the file alone from now on.
    member _.Shelve(clone: ObjectKey, bytes: int64, accepted: DateTimeOffset, due: DateTimeOffset) : unit =
        exclusively gate (fun () ->
            wait clone {
                Copies = 1L
                Bytes = bytes
                Due = due
                Oldest = accepted
            })

    /// So many copies were taken out; of the rest the first is due, and the oldest was accepted, then.
    member _.Take(clone: ObjectKey, copies: int64, bytes: int64, rest: RestOfBacklog voption) : unit =
        exclusively gate (fun () ->
            match waiting.TryGetValue clone, rest with
            | (true, before), ValueSome rest when before.Copies > copies ->
                waiting[clone] <- {
                    Copies = before.Copies - copies
                    Bytes = before.Bytes - bytes
                    Due = rest.Due
                    Oldest = rest.Oldest
                }
            | _ -> waiting.Remove clone |> ignore)

    member _.WaitingFor(clone: ObjectKey) : WaitingCopies voption =
        exclusively gate (fun () ->
            match waiting.TryGetValue clone with
            | true, copies -> ValueSome copies
            | false, _ -> ValueNone)

    /// Every RequestClone of which copies wait in the file.
    member _.Waiting: (ObjectKey * WaitingCopies) list =
        exclusively gate (fun () -> [ for pair in waiting -> pair.Key, pair.Value ])
