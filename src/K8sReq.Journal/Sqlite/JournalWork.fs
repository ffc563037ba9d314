namespace K8sReq.Journal.Sqlite

open System
open System.Buffers
open System.Collections.Generic
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// Something to be written to the journal, or read from it. All of a batch is one transaction.
[<RequireQualifiedAccess>]
type JournalWork =
    | Append of AcceptedRequest * at: DateTimeOffset * kept: TaskCompletionSource<bool>
    | Attempted of CopyId * attempts: int
    | Shelved of CopyId * clone: ObjectKey * bytes: int64 * attempts: int * due: DateTimeOffset
    /// `all`: how many durable copies the request has, if none of them has ever left the memory; else 0.
    | Ended of CopyId * clone: ObjectKey * bytes: int64 * all: int
    /// Gives up what waits for a RequestClone, a part of it at a time; with how many copies those were.
    | Drop of clone: ObjectKey * dropped: TaskCompletionSource<int>
    | Take of
        clone: ObjectKey *
        most: int *
        mostBytes: int64 *
        now: DateTimeOffset *
        taken: TaskCompletionSource<StoredCopy list>

module JournalWork =
    /// Whether nobody waits for it: it can be written later.
    let isPatient (work: JournalWork) : bool =
        match work with
        | JournalWork.Attempted _
        | JournalWork.Shelved _
        | JournalWork.Ended _ -> true
        | JournalWork.Append _
        | JournalWork.Take _
        | JournalWork.Drop _ -> false

    /// Tells who waits for it that it was not done.
    let refuse (work: JournalWork) : unit =
        match work with
        | JournalWork.Append(_, _, kept) -> kept.TrySetResult false |> ignore
        | JournalWork.Take(_, _, _, _, taken) -> taken.TrySetResult [] |> ignore
        | JournalWork.Drop(_, dropped) -> dropped.TrySetResult 0 |> ignore
        | JournalWork.Attempted _
        | JournalWork.Shelved _
        | JournalWork.Ended _ -> ()

/// What a piece of work has found.
[<RequireQualifiedAccess>]
type JournalResult =
    | Nothing
    | Taken of StoredCopy list
    | Dropped of copies: int * bytes: int64

/// The statements of the journal, on an open database.
[<Sealed>]
type JournalRows(database: Database) =
    let insertRequest =
        database.Prepare
            "INSERT INTO requests (id, received_at, host, method, fields_end, bytes, wire) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"

    let insertCopy =
        database.Prepare
            "INSERT INTO copies (request, copy, clone, bytes, state, attempts, due) VALUES (?1, ?2, ?3, ?4, ?5, 0, 0)"

    let attempted =
        database.Prepare "UPDATE copies SET attempts = ?3 WHERE request = ?1 AND copy = ?2"

    let shelve =
        database.Prepare
            "UPDATE copies SET state = 1, attempts = ?3, due = ?4 WHERE request = ?1 AND copy = ?2"

    let deleteCopy =
        database.Prepare "DELETE FROM copies WHERE request = ?1 AND copy = ?2"

    let deleteRequest =
        database.Prepare
            "DELETE FROM requests WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM copies WHERE request = ?1)"

    let deleteCopies = database.Prepare "DELETE FROM copies WHERE request = ?1"
    let deleteWhole = database.Prepare "DELETE FROM requests WHERE id = ?1"

    let select =
        database.Prepare
            "SELECT c.request, c.copy, c.bytes, c.attempts, r.received_at, r.host, r.method, r.fields_end, r.wire \
             FROM copies c INDEXED BY copies_waiting JOIN requests r ON r.id = c.request \
             WHERE c.state = 1 AND c.clone = ?1 AND c.due <= ?2 ORDER BY c.due LIMIT ?3"

    let selectIds =
        database.Prepare
            "SELECT request, copy, bytes FROM copies INDEXED BY copies_waiting WHERE state = 1 AND clone = ?1 ORDER BY due LIMIT 1000"

    let putBack =
        database.Prepare "UPDATE copies SET state = 1 WHERE request = ?1 AND copy = ?2"

    let load =
        database.Prepare "UPDATE copies SET state = 0 WHERE request = ?1 AND copy = ?2"

    let nextDue =
        database.Prepare
            "SELECT due FROM copies INDEXED BY copies_waiting WHERE state = 1 AND clone = ?1 ORDER BY due LIMIT 1"

    let findClone =
        database.Prepare "SELECT id FROM clones WHERE namespace = ?1 AND name = ?2"

    let insertClone =
        database.Prepare "INSERT INTO clones (namespace, name) VALUES (?1, ?2) RETURNING id"

    let cloneIds = Dictionary<ObjectKey, int64>()

    let milliseconds (time: DateTimeOffset) = time.ToUnixTimeMilliseconds()

    let tryFindClone (clone: ObjectKey) =
        match cloneIds.TryGetValue clone with
        | true, id -> ValueSome id
        | false, _ ->
            match findClone.Bind(1, clone.Namespace).Bind(2, clone.Name).RunForNumber() with
            | 0L -> ValueNone
            | id ->
                cloneIds[clone] <- id
                ValueSome id

    let cloneId (clone: ObjectKey) =
        match tryFindClone clone with
        | ValueSome id -> id
        | ValueNone ->
            let id = insertClone.Bind(1, clone.Namespace).Bind(2, clone.Name).RunForNumber()
            cloneIds[clone] <- id
            id

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

    let append (accepted: AcceptedRequest) (at: DateTimeOffset) =
        let request = accepted.Request

        insertRequest
            .Bind(1, accepted.Number)
            .Bind(2, milliseconds at)
            .Bind(3, request.Host)
            .Bind(4, request.Method)
            .Bind(5, request.FieldsEnd)
            .Bind(6, accepted.Bytes)
        |> ignore

        bindWire request.Wire
        insertRequest.Run()

        match accepted.Durable with
        | null -> ()
        | durable ->
            for copy in durable do
                insertCopy
                    .Bind(1, accepted.Number)
                    .Bind(2, int64 copy.Copy)
                    .Bind(3, cloneId copy.Clone)
                    .Bind(4, accepted.Bytes)
                    .Bind(5, (if copy.IsSpilled then 1L else 0L))
                    .Run()

    let forCopy (statement: Statement) (id: CopyId) =
        statement.Bind(1, id.Request).Bind(2, int64 id.Copy)

    let read (clone: ObjectKey) : StoredCopy =
        let wire = select.Bytes(8).ToArray()

        {
            Id = {
                Request = select.Number 0
                Copy = int (select.Number 1)
            }
            Clone = clone
            Request = {
                Host = select.Text 5
                Method = select.Text 6
                Wire = ReadOnlySequence wire
                FieldsEnd = select.Number 7
            }
            Bytes = select.Number 2
            ReceivedAt = DateTimeOffset.FromUnixTimeMilliseconds(select.Number 4)
            Attempts = int (select.Number 3)
        }

    let takeCopies (clone: ObjectKey) (id: int64) (most: int) (mostBytes: int64) (now: DateTimeOffset) =
        let taken = ResizeArray<StoredCopy>()
        let mutable bytes = 0L
        select.Bind(1, id).Bind(2, milliseconds now).Bind(3, int64 most) |> ignore

        while bytes < mostBytes && select.Step() do
            let copy = read clone
            taken.Add copy
            bytes <- bytes + copy.Bytes

        select.Reset()

        for copy in taken do
            (forCopy load copy.Id).Run()

        List.ofSeq taken

    // Their bodies are not read: there may be many, and large ones.
    let dropCopies (id: int64) =
        let dropped = ResizeArray<CopyId>()
        let mutable bytes = 0L
        selectIds.Bind(1, id) |> ignore

        while selectIds.Step() do
            dropped.Add {
                Request = selectIds.Number 0
                Copy = int (selectIds.Number 1)
            }

            bytes <- bytes + selectIds.Number 2

        for copy in dropped do
            (forCopy deleteCopy copy).Run()
            deleteRequest.Bind(1, copy.Request).Run()

        JournalResult.Dropped(dropped.Count, bytes)

    /// Does what the work says, within the transaction that has begun.
    member _.Run(work: JournalWork) : JournalResult =
        match work with
        | JournalWork.Append(request, at, _) ->
            append request at
            JournalResult.Nothing
        | JournalWork.Attempted(id, attempts) ->
            (forCopy attempted id).Bind(3, int64 attempts).Run()
            JournalResult.Nothing
        | JournalWork.Shelved(id, _, _, attempts, due) ->
            (forCopy shelve id).Bind(3, int64 attempts).Bind(4, milliseconds due).Run()
            JournalResult.Nothing
        | JournalWork.Ended(id, _, _, _) ->
            (forCopy deleteCopy id).Run()
            deleteRequest.Bind(1, id.Request).Run()
            JournalResult.Nothing
        | JournalWork.Drop(clone, _) ->
            match tryFindClone clone with
            | ValueNone -> JournalResult.Dropped(0, 0L)
            | ValueSome id -> dropCopies id
        | JournalWork.Take(clone, most, mostBytes, now, _) ->
            match tryFindClone clone with
            | ValueNone -> JournalResult.Taken []
            | ValueSome id -> JournalResult.Taken(takeCopies clone id most mostBytes now)

    /// A copy that was taken waits in the file after all.
    member _.PutBack(id: CopyId) : unit = (forCopy putBack id).Run()

    /// Removes a request with all its copies, if it is there.
    member _.Remove(request: int64) : unit =
        deleteCopies.Bind(1, request).Run()
        deleteWhole.Bind(1, request).Run()

    /// The time at which the first of a RequestClone's copies in the file is due.
    member _.NextDue(clone: ObjectKey) : DateTimeOffset voption =
        match tryFindClone clone with
        | ValueNone -> ValueNone
        | ValueSome id ->
            nextDue.Bind(1, id) |> ignore

            if nextDue.Step() then
                let due = DateTimeOffset.FromUnixTimeMilliseconds(nextDue.Number 0)
                nextDue.Reset()
                ValueSome due
            else
                ValueNone

    /// The highest number that a request has had.
    member _.LastNumber: int64 = database.Number "SELECT max(id) FROM requests"

    /// What waits in the file, by RequestClone.
    member _.Found: (ObjectKey * Backlog) list =
        use found =
            database.Prepare
                "SELECT k.namespace, k.name, count(*), sum(c.bytes), min(c.due) FROM copies c JOIN clones k ON k.id = c.clone GROUP BY c.clone"

        [
            while found.Step() do
                ObjectKey.create (found.Text 0) (found.Text 1),
                {
                    Copies = found.Number 2
                    Bytes = found.Number 3
                    Due = ValueSome(DateTimeOffset.FromUnixTimeMilliseconds(found.Number 4))
                }
        ]
