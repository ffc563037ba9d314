namespace K8sReq.Host.Http

open System.Threading

/// The bytes that all captured requests may hold in memory together. From many threads at once.
[<Sealed>]
type BufferBudget(total: int64) =
    let mutable used = 0L

    member _.Total = total
    member _.Used = Volatile.Read &used

    /// Takes these bytes, or none of them where that would be more than there are.
    member _.TryTake(bytes: int64) : bool =
        if Interlocked.Add(&used, bytes) <= total then
            true
        else
            Interlocked.Add(&used, -bytes) |> ignore
            false

    /// Gives back what was taken.
    member _.Return(bytes: int64) : unit =
        Interlocked.Add(&used, -bytes) |> ignore
