namespace K8sReq.Proxy

open System
open System.Collections.Concurrent

/// One of something for each key, made when it is first asked for. The keys are few: they are labels.
[<Sealed>]
type ByLabel<'Key, 'Cell when 'Key: equality and 'Key: not null>(create: unit -> 'Cell) =
    let cells = ConcurrentDictionary<'Key, 'Cell>()
    let make = Func<'Key, 'Cell>(fun _ -> create ())

    member _.Of(key: 'Key) : 'Cell = cells.GetOrAdd(key, make)

    /// As it is now, in no order.
    member _.All: seq<struct ('Key * 'Cell)> = seq { for pair in cells -> struct (pair.Key, pair.Value) }
