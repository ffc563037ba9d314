namespace K8sReq.Proxy

open System.Threading

/// The last few of something, each in the place of the one that it pushes out. From any thread, without a lock.
[<Sealed>]
type RecentItems<'T when 'T: not struct and 'T: not null>(kept: int) =
    let items: 'T[] = Array.zeroCreate kept
    let mutable seen = 0

    member _.Add(item: 'T) : unit =
        let index = Interlocked.Increment &seen
        Volatile.Write(&items[int (uint32 index % uint32 kept)], item)

    /// In no order.
    member _.All: 'T list = [
        for index in 0 .. items.Length - 1 do
            match Volatile.Read &items[index] |> box with
            | null -> ()
            | item -> item :?> 'T
    ]
