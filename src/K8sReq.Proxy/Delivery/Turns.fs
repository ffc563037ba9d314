namespace K8sReq.Proxy

open System.Threading
open K8sReq.Core

/// Begins the sends that have waited, in a lane's queue or between two attempts: so many at a time, and one of each namespace
/// after the other. A tenant with a thousand lanes that are behind takes one turn where a tenant with one lane takes one. What
/// is sent as soon as it is accepted does not come here. From many threads at once.
[<Sealed>]
type Turns(atOnce: int) =
    let gate = Lock()
    // Guarded by the gate, both: what waits for its turn, and how many threads give turns, at most `atOnce`. While anything
    // waits, one at least does.
    let mutable rotation = Rotation.empty<string, unit -> unit>
    let mutable atWork = 0

    let tryTake () =
        exclusively gate (fun () ->
            match Rotation.tryTake rotation with
            | ValueSome(struct (work, rest)) ->
                rotation <- rest
                ValueSome work
            | ValueNone ->
                atWork <- atWork - 1
                ValueNone)

    let isDone () =
        exclusively gate (fun () ->
            if Rotation.isEmpty rotation then
                atWork <- atWork - 1
                true
            else
                false)

    /// Work of this namespace, which returns when it waits for something. It, or what waits before it, is begun by the thread that comes
    /// here if there is a turn to give: the thread on which one send has ended begins the next, so that sending keeps up with
    /// what comes in. Must not throw. Not to be called with a lock held.
    member turns.Add(ns: string, work: unit -> unit) : unit =
        let isMine =
            exclusively gate (fun () ->
                rotation <- Rotation.add ns work rotation

                if atWork < atOnce then
                    atWork <- atWork + 1
                    true
                else
                    false)

        if isMine then
            turns.GiveOne()

    // One turn; the next ones after what else waits for a thread.
    member private turns.GiveOne() : unit =
        match tryTake () with
        | ValueSome work ->
            work ()

            if not (isDone ()) then
                ThreadPool.UnsafeQueueUserWorkItem(turns, false) |> ignore
        | ValueNone -> ()

    interface IThreadPoolWorkItem with
        member turns.Execute() = turns.GiveOne()
