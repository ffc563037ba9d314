namespace K8sReq.Journal.Sqlite

open System
open System.Buffers
open K8sReq.Core
open K8sReq.Journal

/// Requests and their copies, a row each, on an open database.
[<Sealed>]
type RequestRows(database: Database) =
    let insertRequest =
        database.Prepare
            "INSERT INTO requests (id, received_at, host, method, fields_end, bytes, wire, request_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"

    let insertCopy =
        database.Prepare
            "INSERT INTO copies (request, copy, clone, bytes, state, attempts, due) VALUES (?1, ?2, ?3, ?4, ?5, 0, 0)"

    let deleteCopy =
        database.Prepare "DELETE FROM copies WHERE request = ?1 AND copy = ?2"

    let deleteUnused =
        database.Prepare
            "DELETE FROM requests WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM copies WHERE request = ?1) \
             AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE request = ?1)"

    let bindWire (wire: ReadOnlySequence<byte>) =
        if wire.IsSingleSegment then
            insertRequest.Bind(7, wire.FirstSpan) |> ignore
        else
            let length = int wire.Length
            let whole = ArrayPool.Shared.Rent length

            try
                wire.CopyTo(whole.AsSpan())
                insertRequest.Bind(7, ReadOnlySpan(whole, 0, length)) |> ignore
            finally
                ArrayPool.Shared.Return whole

    member _.Insert(row: RequestRow) : unit =
        insertRequest
            .Bind(1, row.Number)
            .Bind(2, row.ReceivedAt)
            .Bind(3, row.Host)
            .Bind(4, row.Method)
            .Bind(5, row.FieldsEnd)
            .Bind(6, row.Bytes)
            .Bind(8, ReadOnlySpan(row.RequestId.ToByteArray true))
        |> ignore

        bindWire row.Wire
        insertRequest.Run()

    /// A copy of a request for a RequestClone, which is named by its number in the file. `isWaiting`: in the file alone.
    member _.InsertCopy(request: int64, copy: int, clone: int64, bytes: int64, isWaiting: bool) : unit =
        insertCopy
            .Bind(1, request)
            .Bind(2, int64 copy)
            .Bind(3, clone)
            .Bind(4, bytes)
            .Bind(5, (if isWaiting then 1L else 0L))
            .Run()

    member _.DeleteCopy(copy: CopyId) : unit =
        deleteCopy.Bind(1, copy.Request).Bind(2, int64 copy.Copy).Run()

    /// Removes a request of which neither a copy nor a dead letter is left.
    member _.DeleteUnused(request: int64) : unit = deleteUnused.Bind(1, request).Run()
