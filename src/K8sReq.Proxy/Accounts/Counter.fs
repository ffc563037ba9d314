namespace K8sReq.Proxy

open System.Threading

/// A number that any thread adds to.
[<Sealed>]
type Counter() =
    let mutable value = 0L

    member _.Add(count: int64) : unit =
        Interlocked.Add(&value, count) |> ignore

    member _.Value = Volatile.Read &value
