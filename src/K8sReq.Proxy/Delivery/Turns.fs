namespace K8sReq.Proxy

open System.Threading
open K8sReq.Core

/// Begins the sends that have waited, in a lane's queue or between two attempts: so many at a time, and one of each namespace
/// after the other. A tenant with a thousand lanes that are behind takes one turn where a tenant with one lane takes one. What
/// is sent as soon as it is accepted does not come here. From many threads at once.
[<Sealed>]
type Turns(atOnce: int) =
    let gate = Lock()
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

    /// Work of this namespace: returns when it waits for something. Must not throw.
    member turns.Add(ns: string, work: unit -> unit) : unit =
        let isNeeded =
            exclusively gate (fun () ->
                rotation <- Rotation.add ns work rotation

                if atWork < atOnce then
                    atWork <- atWork + 1
                    true
                else
                    false)

        if isNeeded then
            ThreadPool.UnsafeQueueUserWorkItem(turns, false) |> ignore

    interface IThreadPoolWorkItem with
        // One piece; the next one after what else waits for a thread.
        member turns.Execute() =
            match tryTake () with
            | ValueSome work ->
                work ()
                ThreadPool.UnsafeQueueUserWorkItem(turns, false) |> ignore
            | ValueNone -> ()
