namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading

/// One of something with its key, in one object: one read gives both.
[<Sealed>]
type internal Labelled<'Key, 'Cell when 'Key :> IEquatable<'Key> and 'Key: equality and 'Key: not null>
    (key: 'Key, cell: 'Cell) =
    member _.Key: 'Key = key
    member _.Cell: 'Cell = cell
    member _.Has(other: 'Key) : bool = key.Equals other

/// One of something for each key, made when it is first asked for. The keys are few: they are labels. From any thread.
///
/// A key of two or more parts is a struct record rather than a tuple: its comparison is compiled for it.
[<Sealed>]
type ByLabel<'Key, 'Cell when 'Key :> IEquatable<'Key> and 'Key: equality and 'Key: not null>
    (create: unit -> 'Cell) =
    let cells = ConcurrentDictionary<'Key, Labelled<'Key, 'Cell>>()
    let make = Func<'Key, Labelled<'Key, 'Cell>>(fun key -> Labelled(key, create ()))

    // The two that were looked up last: nearly always the next one is among them, and found without hashing its texts (bench/NOTES.md,
    // "What counting costs"). Two that take turns stay where they are: nothing is written then.
    let mutable last: Labelled<'Key, 'Cell> | null = null
    let mutable other: Labelled<'Key, 'Cell> | null = null

    let isOf (key: 'Key) (cell: Labelled<'Key, 'Cell> | null) : bool =
        match cell with
        | null -> false
        | cell -> cell.Has key

    member _.Of(key: 'Key) : 'Cell =
        let first = Volatile.Read &last

        if isOf key first then
            (nonNull first).Cell
        else
            let second = Volatile.Read &other

            if isOf key second then
                (nonNull second).Cell
            else
                let found = cells.GetOrAdd(key, make)
                Volatile.Write(&other, first)
                Volatile.Write(&last, found)
                found.Cell

    /// As it is now, in no order.
    member _.All: seq<struct ('Key * 'Cell)> = seq { for pair in cells -> struct (pair.Key, pair.Value.Cell) }
