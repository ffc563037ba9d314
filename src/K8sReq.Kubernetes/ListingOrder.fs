namespace K8sReq.Kubernetes

open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// Hands on the events of several kinds of one scope, those of a kind once every kind before it has been listed. The events
/// that wait are handed on together with the listing that they wait for.
[<Sealed>]
type ListingOrder<'Event>(kinds: SourceKind<'Event> list, post: 'Event list -> unit) =
    let kinds = Array.ofList kinds
    // Guards both arrays. `post` is called with it held, so that events keep their order; it only adds to a queue.
    let gate = Lock()
    let isListed = Array.create kinds.Length false
    // Of a kind whose turn has come none waits.
    let waiting = Array.init kinds.Length (fun _ -> ResizeArray<ObjectEvent<obj>>())

    let mayPass index =
        Seq.forall (fun before -> isListed[before]) (seq { 0 .. index - 1 })

    // Everything that may be handed on now, in the order of the kinds.
    let release () = [
        for index in 0 .. kinds.Length - 1 do
            if mayPass index && waiting[index].Count > 0 then
                for event in waiting[index] do
                    kinds[index].ToEvent event

                    match event with
                    | ObjectEvent.Listed _ -> isListed[index] <- true
                    | ObjectEvent.Applied _
                    | ObjectEvent.Deleted _ -> ()

                waiting[index].Clear()
    ]

    /// An event of the kind with this index.
    member _.Add (index: int) (event: ObjectEvent<obj>) : unit =
        exclusively gate (fun () ->
            match event with
            // What came before it is in it.
            | ObjectEvent.Listed _ -> waiting[index].Clear()
            | ObjectEvent.Applied _
            | ObjectEvent.Deleted _ -> ()

            waiting[index].Add event

            match release () with
            | [] -> ()
            | events -> post events)
