namespace K8sReq.Journal.Postgres

open System
open System.Buffers
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

/// The copies of a replica that wait in the journal: how they come out of it.
[<Sealed>]
type WaitingRows(session: PostgresSession, owner: int64, requests: RequestRows, suspects: Suspects) =
    let milliseconds (time: DateTimeOffset) = time.ToUnixTimeMilliseconds()

    let time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    // Of what may be taken now: as much as was asked for.
    let choose (clone: int64) (most: int) (mostBytes: int64) (now: DateTimeOffset) : CopyId list =
        let due =
            session.Rows(
                "SELECT request, copy, bytes, suspicion FROM k8sreq.copies \
                 WHERE state = 1 AND owner = $1 AND clone = $2 AND due <= $3 AND suspicion <= $4 ORDER BY due, request, copy LIMIT $5",
                [
                    Value.number owner
                    Value.number clone
                    Value.number (milliseconds now)
                    Value.number (suspects.Highest clone)
                    Value.small most
                ],
                fun row ->
                    struct ({
                                Request = row.GetInt64 0
                                Copy = row.GetInt32 1
                            },
                            row.GetInt64 2,
                            row.GetInt64 3)
            )

        let mutable bytes = 0L

        [
            for struct (id, size, suspicion) in due do
                if bytes < mostBytes && suspicion <= suspects.Highest clone then
                    suspects.Add(clone, id, suspicion)
                    bytes <- bytes + size
                    id
        ]

    let read (clone: ObjectKey) (now: DateTimeOffset) (row: Npgsql.NpgsqlDataReader) : StoredCopy = {
        Id = {
            Request = row.GetInt64 0
            Copy = row.GetInt32 1
        }
        Clone = clone
        Request = {
            Host = row.GetString 5
            Method = row.GetString 6
            Wire = ReadOnlySequence(row.GetFieldValue<byte[]> 8)
            FieldsEnd = row.GetInt64 7
        }
        RequestId = row.GetGuid 9
        Bytes = row.GetInt64 2
        Age = max TimeSpan.Zero (now - time (row.GetInt64 11))
        Attempts = int (row.GetInt64 3)
        IsSuspect = row.GetInt64 10 > 0L
        // Known once the transaction is kept.
        Epoch = 0L
    }

    let load (clone: ObjectKey) (now: DateTimeOffset) (chosen: CopyId list) : StoredCopy list =
        if chosen.IsEmpty then
            []
        else
            session.Do(
                $"UPDATE k8sreq.copies c SET state = CASE c.suspicion WHEN 0 THEN 0 ELSE 2 END FROM {RequestRows.Table} AS e (request, copy) \
                  WHERE c.request = e.request AND c.copy = e.copy",
                Array.ofList (RequestRows.ParametersOf chosen)
            )

            session.Rows(
                $"SELECT c.request, c.copy, c.bytes, c.attempts, r.received_at, r.host, r.method, r.fields_end, r.wire, r.request_id, \
                  c.suspicion, CASE c.since WHEN 0 THEN r.received_at ELSE c.since END \
                  FROM {RequestRows.Table} WITH ORDINALITY AS e (request, copy, place) \
                  JOIN k8sreq.copies c ON c.request = e.request AND c.copy = e.copy \
                  JOIN k8sreq.requests r ON r.id = c.request ORDER BY e.place",
                RequestRows.ParametersOf chosen,
                read clone now
            )

    /// See `IJournalRows.Take`.
    member _.Take
        (clone: ObjectKey, number: int64, most: int, mostBytes: int64, now: DateTimeOffset)
        : StoredCopy list =
        choose number most mostBytes now |> load clone now

    /// What is left for the RequestClone of this number.
    member _.RestOf(clone: int64) : RestOfBacklog voption =
        let rest =
            session.Rows(
                "SELECT c.due, (SELECT CASE o.since WHEN 0 THEN r.received_at ELSE o.since END \
                 FROM k8sreq.copies o JOIN k8sreq.requests r ON r.id = o.request \
                 WHERE o.state = 1 AND o.owner = $1 AND o.clone = $2 ORDER BY o.request LIMIT 1) \
                 FROM k8sreq.copies c WHERE c.state = 1 AND c.owner = $1 AND c.clone = $2 ORDER BY c.due LIMIT 1",
                [ Value.number owner; Value.number clone ],
                fun row -> {
                    Due = time (row.GetInt64 0)
                    Oldest = time (row.GetInt64 1)
                }
            )

        match rest with
        | first :: _ -> ValueSome first
        | [] -> ValueNone

    /// Gives up some: how many copies, and their bytes.
    member _.Drop(clone: int64) : struct (int * int64) =
        let dropped =
            session.Rows(
                "DELETE FROM k8sreq.copies WHERE (request, copy) IN \
                 (SELECT request, copy FROM k8sreq.copies WHERE state = 1 AND owner = $1 AND clone = $2 ORDER BY due LIMIT 1000) \
                 RETURNING request, bytes",
                [ Value.number owner; Value.number clone ],
                fun row -> struct (row.GetInt64 0, row.GetInt64 1)
            )

        for struct (request, _) in dropped do
            requests.DeleteUnused request

        struct (dropped.Length, dropped |> List.sumBy (fun struct (_, bytes) -> bytes))

    /// All of them, by RequestClone.
    member _.Found() : (ObjectKey * WaitingCopies) list =
        session.Rows(
            "SELECT k.namespace, k.name, w.copies, w.bytes, w.due, w.oldest FROM \
             (SELECT c.clone, count(*) AS copies, sum(c.bytes)::bigint AS bytes, min(c.due) AS due, \
              min(CASE c.since WHEN 0 THEN r.received_at ELSE c.since END) AS oldest \
              FROM k8sreq.copies c JOIN k8sreq.requests r ON r.id = c.request WHERE c.state = 1 AND c.owner = $1 GROUP BY c.clone) w \
             JOIN k8sreq.clones k ON k.id = w.clone",
            [ Value.number owner ],
            fun row ->
                ObjectKey.create (row.GetString 0) (row.GetString 1),
                {
                    Copies = row.GetInt64 2
                    Bytes = row.GetInt64 3
                    Due = time (row.GetInt64 4)
                    Oldest = time (row.GetInt64 5)
                }
        )
