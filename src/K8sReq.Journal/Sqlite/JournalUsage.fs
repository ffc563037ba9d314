namespace K8sReq.Journal.Sqlite

open System
open System.Collections.Generic
open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// What the journal holds, by RequestClone, against its limit. A copy counts with its request's bytes, so a request with two
/// durable copies counts twice, though it is stored once. Pages and the log that SQLite needs besides do not count. From any
/// thread.
[<Sealed>]
type JournalUsage(limit: int64) =
    // Guards everything below: `total` is the sum of what all RequestClones hold.
    let gate = Lock()
    let held = Dictionary<ObjectKey, int64>()
    let waiting = Dictionary<ObjectKey, Backlog>()
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

    let backlogOf clone =
        match waiting.TryGetValue clone with
        | true, backlog -> backlog
        | false, _ -> Backlog.empty

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

    /// What was found in the file at its opening.
    member _.Found(clone: ObjectKey, backlog: Backlog) : unit =
        exclusively gate (fun () ->
            add clone backlog.Bytes
            waiting[clone] <- backlog)

    /// A copy waits in the file alone from now on.
    member _.Shelve(clone: ObjectKey, bytes: int64, due: DateTimeOffset) : unit =
        exclusively gate (fun () ->
            let before = backlogOf clone

            waiting[clone] <- {
                Copies = before.Copies + 1L
                Bytes = before.Bytes + bytes
                Due =
                    match before.Due with
                    | ValueSome earlier when earlier <= due -> before.Due
                    | _ -> ValueSome due
            })

    /// So many copies were taken out; the earliest of the rest is due then.
    member _.Take(clone: ObjectKey, copies: int64, bytes: int64, due: DateTimeOffset voption) : unit =
        exclusively gate (fun () ->
            let before = backlogOf clone

            if before.Copies <= copies then
                waiting.Remove clone |> ignore
            else
                waiting[clone] <- {
                    Copies = before.Copies - copies
                    Bytes = before.Bytes - bytes
                    Due = due
                })

    member _.Backlog(clone: ObjectKey) : Backlog =
        exclusively gate (fun () -> backlogOf clone)

    /// Every RequestClone of which copies wait in the file.
    member _.Waiting: (ObjectKey * Backlog) list =
        exclusively gate (fun () -> [ for pair in waiting -> pair.Key, pair.Value ])
