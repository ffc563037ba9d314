namespace K8sReq.Host.Commands

open System
open System.Collections.Generic

/// What has to be given back at the end, whichever end it is: in the opposite order of that in which it was taken, once. For
/// one thread at a time.
[<Sealed>]
type Resources() =
    let held = Stack<IDisposable>()

    /// Takes over something, and gives it.
    member _.Own(resource: 'T :> IDisposable) : 'T =
        held.Push resource
        resource

    /// Something is to be done at the end.
    member resources.AtEnd(work: unit -> unit) : unit =
        resources.Own
            {
                new IDisposable with
                    member _.Dispose() = work ()
            }
        |> ignore

    interface IDisposable with
        member _.Dispose() =
            while held.Count > 0 do
                held.Pop().Dispose()
