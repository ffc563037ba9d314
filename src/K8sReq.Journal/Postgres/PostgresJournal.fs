namespace K8sReq.Journal.Postgres

open System
open System.Buffers
open System.Collections.Generic
open System.Diagnostics
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

/// Replicas that have gone, and whose takeover has failed: it is tried again after a while, and stands in the way of nothing else.
[<Sealed>]
type SetAside(clock: TimeProvider) =
    let time = TimeSpan.FromMinutes 1.0
    let since = Dictionary<int64, int64>()

    member _.Add(replica: int64) : unit = since[replica] <- clock.GetTimestamp()

    member _.Now: int64[] = [|
        for KeyValue(replica, at) in since do
            if clock.GetElapsedTime at < time then
                replica
    |]

/// The journal on an open connection. Each transaction begins with the question whether this replica still counts as alive.
[<Sealed>]
type PostgresJournal
    (
        session: PostgresSession,
        me: ReplicaId,
        times: ReplicaTimes,
        lease: SendLease,
        clock: TimeProvider,
        deadLetterLimit: int64,
        suspects: Suspects,
        setAside: SetAside
    ) =
    let owner = me.Number
    let replicas = Replicas(session, me, times)
    let clones = CloneRows session
    let requests = RequestRows(session, owner)
    let packs = PackRows(session, owner, requests)
    let letters = DeadLetterRows(session, owner, clones, requests, deadLetterLimit)
    let adoption = Adoption(session, owner, packs, letters)
    let packing = RequestPacking(clones.Of, (fun id pack -> packs.Insert(id, pack)))
    let opened = Stopwatch.GetTimestamp()
    // Dead letters of others are counted no more often than once for so many upkeeps.
    let upkeepsToCount = 10
    let mutable upkeeps = 0

    do
        session.Settle <-
            fun () ->
                packs.Settle()
                requests.Settle()

    let milliseconds (time: DateTimeOffset) = time.ToUnixTimeMilliseconds()

    let time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    let append (accepted: AcceptedRequest) (at: DateTimeOffset) : JournalResult =
        let row = RequestRow.ofAccepted accepted at

        match accepted.Durable with
        | null ->
            requests.Insert row
            JournalResult.Nothing
        | durable ->
            match packing.TryAdd(row, durable) with
            | ValueSome pack -> JournalResult.Packed pack
            | ValueNone ->
                requests.Insert row

                for copy in durable do
                    let state = if copy.IsSpilled then 1 else 0
                    requests.InsertCopy(row.Number, copy.Copy, clones.Of copy.Clone, row.Bytes, state, 0L)

                JournalResult.Nothing

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

    let restOf (clone: int64) : RestOfBacklog voption =
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

    let drop (clone: int64) : struct (int * int64) =
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

    let cleared (id: CopyId) : JournalResult =
        if suspects.Remove id then
            JournalResult.Cleared
        else
            JournalResult.Nothing

    // Whether the server has been there long enough for the others to have come back to it.
    let knowsOthers () =
        Stopwatch.GetElapsedTime opened >= times.Grace

    // By itself: it is given whatever comes of the rest.
    let renew () =
        let asked, askedUtc = clock.GetTimestamp(), clock.GetUtcNow()
        replicas.Renew()
        session.Commit()
        lease.Renew(owner, asked, askedUtc)

    let takeOver (gone: int64) (now: DateTimeOffset) (keep: TimeSpan) : JournalUpkeep =
        try
            let found = adoption.TakeOver(gone, now, keep)

            if not found.IsMore then
                replicas.Remove gone

            // Others may have gone too.
            { found with IsMore = true }
        with _ ->
            setAside.Add gone
            reraise ()

    let upkeep (now: DateTimeOffset) (keep: TimeSpan) : JournalUpkeep =
        renew ()
        replicas.Guard()

        if knowsOthers () then
            replicas.FenceExpired()

        let found =
            match replicas.TakeGone setAside.Now with
            | ValueNone -> JournalUpkeep.nothing
            | ValueSome gone -> takeOver gone now keep

        upkeeps <- upkeeps + 1

        if upkeeps % upkeepsToCount = 1 then
            {
                found with
                    Letters = Some(letters.Found())
            }
        else
            found

    let waiting () : (ObjectKey * WaitingCopies) list =
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

    interface IOpenJournal with
        member _.Epoch = owner

        // What is there is others': see `Upkeep`.
        member _.ReadContent(_: DateTimeOffset, _: TimeSpan) =
            let found = letters.Found()
            session.Commit()

            {
                Waiting = []
                Poisonous = []
                Letters = found
                Unsent = []
                Damage = None
            },
            []

        // The server says so when there is none.
        member _.HasRoom(_: bool, _: int64) : bool = true

        member _.Begin() : unit = replicas.Guard()

        member _.Run(work: JournalWork) : JournalResult =
            match work with
            | JournalWork.Append(request, at, _) -> append request at
            | JournalWork.Attempted(id, _, attempts, _) ->
                requests.Change(id, "attempts = $4, suspicion = 0, state = 0", Value.number (int64 attempts))
                cleared id
            | JournalWork.Shelved copy ->
                requests.Change(
                    copy.Id,
                    "suspicion = CASE WHEN attempts < $4 THEN 0 ELSE suspicion END, state = 1, attempts = $4, due = $5",
                    Value.number (int64 copy.Attempts),
                    Value.number (milliseconds copy.Due)
                )

                cleared copy.Id
            | JournalWork.Ended copy ->
                requests.DeleteCopy copy.Id
                cleared copy.Id
            | JournalWork.EndedPacked copy ->
                packs.SetEnded copy.Id
                JournalResult.Nothing
            | JournalWork.EndedPack pack ->
                packs.Delete pack.Id

                if pack.HasWrittenEnds then
                    packs.DeleteEnds pack.Requests

                JournalResult.Nothing
            | JournalWork.Unpack pack ->
                packs.Unpack pack
                JournalResult.Nothing
            | JournalWork.Died entry ->
                let isCleared = suspects.Remove entry.Id
                JournalResult.PushedOut(letters.Add entry, isCleared)
            | JournalWork.Letters(run, _, _) ->
                run letters
                JournalResult.Nothing
            | JournalWork.Drop(clone, _) ->
                match clones.TryFind clone with
                | ValueNone -> JournalResult.Dropped(0, 0L, ValueNone)
                | ValueSome number ->
                    let struct (copies, bytes) = drop number
                    JournalResult.Dropped(copies, bytes, restOf number)
            | JournalWork.Take(clone, most, mostBytes, now, _) ->
                match clones.TryFind clone with
                | ValueNone -> JournalResult.Taken([], ValueNone)
                | ValueSome number ->
                    let taken = choose number most mostBytes now |> load clone now
                    JournalResult.Taken(taken, restOf number)
            | JournalWork.Upkeep -> JournalResult.Nothing

        member _.Upkeep(now: DateTimeOffset, keep: TimeSpan) : JournalUpkeep = upkeep now keep

        member _.Recount() : JournalUpkeep = {
            JournalUpkeep.nothing with
                Adopted = waiting ()
                Unsent = letters.Unsent()
                Letters = Some(letters.Found())
        }

        member _.Commit() : unit =
            packing.Finish()
            session.Commit()

        member _.PutBack(id: CopyId) : unit = requests.Change(id, "state = 1")

        member _.Remove(request: int64) : unit =
            packs.Delete request
            requests.DeleteAll request

        member _.LastNumber: int64 = owner <<< 40

        member _.LastTime: DateTimeOffset =
            let now =
                session.Number "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
                |> ValueOption.get
                |> time

            session.Commit()
            now

        // It has one of its own.
        member _.SetLastTime(_: DateTimeOffset) : unit = ()

        member _.Leave() : unit =
            replicas.Leave()
            session.Commit()

    interface IDisposable with
        member _.Dispose() = (session :> IDisposable).Dispose()
