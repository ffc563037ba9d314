namespace K8sReq.Journal

open System
open K8sReq.Core
open K8sReq.Proxy

/// The small requests of a transaction, in packs. The rest has rows of its own.
[<Sealed>]
type RequestPacking(numberOf: ObjectKey -> int64, insert: int64 -> RequestPack -> unit) =
    // Of one request, in bytes: to write a large one once more, where its pack is made rows of, would cost more than is saved.
    let mostOfRequest = 32L * 1024L
    // A pack is complete from so many bytes on.
    let mostOfPack = 256L * 1024L
    // What is in the pack so far, and the pack that this will be.
    let packed = RequestPack()
    let mutable current: LivePack voption = ValueNone

    let write () =
        match current with
        | ValueSome pack ->
            insert pack.Id packed
            packed.Clear()
            current <- ValueNone
        | ValueNone -> ()

    /// The pack that it is in; none if it is to have rows of its own.
    member _.TryAdd(row: RequestRow, durable: DurableCopy[]) : LivePack voption =
        if
            row.Wire.Length > mostOfRequest
            || durable |> Array.exists (fun copy -> copy.IsSpilled)
        then
            ValueNone
        else
            if packed.Length >= mostOfPack then
                write ()

            let pack =
                match current with
                | ValueSome pack -> pack
                | ValueNone ->
                    let pack = LivePack(row.Number, TimeProvider.System)
                    current <- ValueSome pack
                    pack

            packed.AddRequest(row, durable.Length)

            for copy in durable do
                packed.AddCopy {
                    Copy = copy.Copy
                    Clone = numberOf copy.Clone
                }

            ValueSome pack

    /// Before the transaction's end: writes what is left.
    member _.Finish() : unit = write ()
