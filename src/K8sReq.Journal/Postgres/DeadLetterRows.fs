namespace K8sReq.Journal.Postgres

open System
open System.Buffers
open System.Diagnostics
open Npgsql
open K8sReq.Core
open K8sReq.Journal

/// The dead letters of the journal, which all replicas share. They have a quarter of its limit, beside what copies may take:
/// beyond it the oldest go. The replica that has made one sends it to its sink. All within the transaction that has begun.
[<Sealed>]
type DeadLetterRows
    (session: PostgresSession, owner: int64, clones: CloneRows, requests: RequestRows, limit: int64) =
    let milliseconds (time: DateTimeOffset) = time.ToUnixTimeMilliseconds()

    let time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    // Bytes of all of them, as far as this replica knows.
    let mutable held = 0L

    let removedIn (row: NpgsqlDataReader) : RemovedLetter = {
        Id = {
            Request = row.GetInt64 0
            Copy = row.GetInt32 1
        }
        Clone = ObjectKey.create (row.GetString 2) (row.GetString 3)
        Bytes = row.GetInt64 4
    }

    // What others have done to them is known for so long.
    let knownFor = TimeSpan.FromSeconds 5.0
    let mutable countedAt = 0L

    let count () : (ObjectKey * DeadLetterCount) list =
        let found =
            session.Rows(
                "SELECT k.namespace, k.name, d.letters, d.bytes FROM \
                 (SELECT clone, count(*) AS letters, sum(bytes)::bigint AS bytes FROM k8sreq.dead_letters GROUP BY clone) d \
                 JOIN k8sreq.clones k ON k.id = d.clone",
                [],
                fun row ->
                    ObjectKey.create (row.GetString 0) (row.GetString 1),
                    {
                        Letters = row.GetInt64 2
                        Bytes = row.GetInt64 3
                    }
            )

        held <- found |> List.sumBy (fun (_, count) -> count.Bytes)
        countedAt <- Stopwatch.GetTimestamp()
        found

    // Of those that a query chooses, which another replica does not have in hand.
    let removeThose (chosen: string) (values: NpgsqlParameter list) : RemovedLetter list =
        let removed =
            session.Rows(
                $"WITH chosen AS MATERIALIZED ({chosen} FOR UPDATE OF d SKIP LOCKED) \
                  DELETE FROM k8sreq.dead_letters d USING chosen c, k8sreq.clones k \
                  WHERE d.request = c.request AND d.copy = c.copy AND k.id = d.clone \
                  RETURNING d.request, d.copy, k.namespace, k.name, d.bytes",
                values,
                removedIn
            )

        for letter in removed do
            held <- held - letter.Bytes
            requests.DeleteUnused letter.Id.Request

        removed

    let rec pushOut (pushed: RemovedLetter list) =
        if held > limit && Stopwatch.GetElapsedTime countedAt > knownFor then
            count () |> ignore

        if held > limit then
            match
                removeThose "SELECT d.request, d.copy FROM k8sreq.dead_letters d ORDER BY d.ended_at LIMIT 1" []
            with
            | [] -> pushed
            | oldest -> pushOut (pushed @ oldest)
        else
            pushed

    let conditionOf (filter: DeadLetterFilter) : string * NpgsqlParameter list =
        let conditions = LetterConditions.ofFilter filter

        LetterConditions.sql (fun index -> $"${index}") conditions,
        conditions
        |> List.map (fun condition ->
            match condition.Value with
            | LetterValue.Number value -> Value.number value
            | LetterValue.Text value -> Value.text value)

    let atOnce = 1000

    let letterColumns =
        "d.request, d.copy, k.namespace, k.name, d.bytes, d.cause, d.outcome, d.attempts, d.target, d.ended_at, r.received_at, r.host, r.method, r.request_id"

    let withRequests =
        "k8sreq.dead_letters d JOIN k8sreq.clones k ON k.id = d.clone JOIN k8sreq.requests r ON r.id = d.request"

    let letterIn (row: NpgsqlDataReader) : DeadLetter =
        let removed = removedIn row

        {
            Id = removed.Id
            Clone = removed.Clone
            Bytes = removed.Bytes
            RequestId = row.GetGuid 13
            Host = row.GetString 11
            Method = row.GetString 12
            Target = row.GetString 8
            Cause = DeadCause.tryParse (row.GetString 5) |> Option.defaultValue DeadCause.Poison
            Outcome = row.GetString 6
            Attempts = int (row.GetInt64 7)
            ReceivedAt = time (row.GetInt64 10)
            EndedAt = time (row.GetInt64 9)
        }

    // Of a query whose next columns are the request's.
    let contentIn (row: NpgsqlDataReader) : CapturedRequest = {
        Host = row.GetString 11
        Method = row.GetString 12
        Wire = ReadOnlySequence(row.GetFieldValue<byte[]> 15)
        FieldsEnd = row.GetInt64 14
    }

    // The oldest first, from behind `after` on: its time and its numbers.
    let page (condition: string) (values: NpgsqlParameter list) (after: (int64 * CopyId) option) (most: int) =
        let parameter index = $"${values.Length + index}"

        let behind, place =
            match after with
            | Some(ended, id) ->
                $"AND (d.ended_at, d.request, d.copy) > ({parameter 2}, {parameter 3}, {parameter 4})",
                [ Value.number ended; Value.number id.Request; Value.small id.Copy ]
            | None -> "", []

        session.Rows(
            $"SELECT d.request, d.copy, k.namespace, k.name, d.bytes, d.ended_at \
              FROM k8sreq.dead_letters d JOIN k8sreq.clones k ON k.id = d.clone WHERE {condition} {behind} \
              ORDER BY d.ended_at, d.request, d.copy LIMIT {parameter 1} FOR UPDATE OF d SKIP LOCKED",
            values @ [ Value.small most ] @ place,
            fun row -> removedIn row, row.GetInt64 5
        )

    // As many as the filter's limit of those that are accepted, some at a time.
    let select (filter: DeadLetterFilter) (isAccepted: RemovedLetter -> bool) : RemovedLetter list =
        let condition, values = conditionOf filter

        let rec go (accepted: ResizeArray<RemovedLetter>) after =
            let most = min atOnce filter.Limit
            // Parameters belong to one statement.
            let found =
                page condition (values |> List.map (fun value -> value.Clone())) after most

            for letter, _ in found do
                if accepted.Count < filter.Limit && isAccepted letter then
                    accepted.Add letter

            if accepted.Count >= filter.Limit || found.Length < most then
                List.ofSeq accepted
            else
                let last, ended = List.last found
                go accepted (Some(ended, last.Id))

        go (ResizeArray()) None

    let idsOf (letters: RemovedLetter list) =
        RequestRows.ParametersOf(letters |> List.map _.Id)

    let deleteRows (letters: RemovedLetter list) =
        session.Do(
            $"DELETE FROM k8sreq.dead_letters d USING {RequestRows.Table} AS e (request, copy) \
              WHERE d.request = e.request AND d.copy = e.copy",
            Array.ofList (idsOf letters)
        )

        for letter in letters do
            held <- held - letter.Bytes

    /// A copy is a dead letter from now on, if it is this replica's; those that had to go for it.
    member _.Add(entry: DeadEntry) : RemovedLetter list =
        session.Do(
            "WITH gone AS (DELETE FROM k8sreq.copies WHERE request = $1 AND copy = $2 AND owner = $3 RETURNING 1) \
             INSERT INTO k8sreq.dead_letters \
             (request, copy, clone, bytes, cause, outcome, attempts, target, ended_at, keep_until, code, sink_owner) \
             SELECT $1, $2, $4, $5, $6, $7, $8, $9, $10, $11, $12, CASE $13::int WHEN 1 THEN $3 END FROM gone",
            Value.number entry.Id.Request,
            Value.small entry.Id.Copy,
            Value.number owner,
            Value.number (clones.Of entry.Clone),
            Value.number entry.Bytes,
            Value.text (DeadCause.name entry.Cause),
            Value.text entry.Outcome,
            Value.number (int64 entry.Attempts),
            Value.text entry.Target,
            Value.number (milliseconds entry.EndedAt),
            Value.number (milliseconds (entry.EndedAt + entry.Keep)),
            Value.text entry.Code,
            Value.small (if entry.IsForSink then 1 else 0)
        )

        held <- held + entry.Bytes
        pushOut []

    /// Those of a replica that has gone are sent to their sinks by this one, some at a time: their RequestClones, and whether
    /// there are more.
    member _.Adopt(dead: int64, most: int) : ObjectKey list * bool =
        let adopted =
            session.Rows(
                "UPDATE k8sreq.dead_letters d SET sink_owner = $1 FROM k8sreq.clones k WHERE k.id = d.clone \
                 AND (d.request, d.copy) IN (SELECT request, copy FROM k8sreq.dead_letters WHERE sink_owner = $2 LIMIT $3) \
                 RETURNING k.namespace, k.name",
                [ Value.number owner; Value.number dead; Value.small most ],
                fun row -> ObjectKey.create (row.GetString 0) (row.GetString 1)
            )

        List.distinct adopted, adopted.Length = most

    /// What is kept, by RequestClone, of all replicas.
    member _.Found() : (ObjectKey * DeadLetterCount) list = count ()

    /// RequestClones that have some which this replica is to send to their sinks.
    member _.Unsent() : ObjectKey list =
        session.Rows(
            "SELECT namespace, name FROM k8sreq.clones WHERE id IN (SELECT clone FROM k8sreq.dead_letters WHERE sink_owner = $1)",
            [ Value.number owner ],
            fun row -> ObjectKey.create (row.GetString 0) (row.GetString 1)
        )

    interface IKeptLetters with
        member _.List(filter: DeadLetterFilter) : DeadLetter list =
            let condition, values = conditionOf filter

            session.Rows(
                $"SELECT {letterColumns} FROM {withRequests} WHERE {condition} ORDER BY d.ended_at, d.request, d.copy \
                  LIMIT ${values.Length + 1}",
                values @ [ Value.small filter.Limit ],
                letterIn
            )

        member _.Unsent(clone: ObjectKey, most: int) : UnsentLetter list =
            match clones.TryFind clone with
            | ValueNone -> []
            | ValueSome number ->
                // The bytes before each: no more than they may have, and one.
                session.Rows(
                    $"SELECT {letterColumns}, r.fields_end, r.wire, d.code FROM \
                      (SELECT *, sum(bytes) OVER (ORDER BY ended_at, request, copy) - bytes AS before FROM \
                       (SELECT * FROM k8sreq.dead_letters WHERE sink_owner = $1 AND clone = $2 ORDER BY ended_at LIMIT $3) u) d \
                      JOIN k8sreq.clones k ON k.id = d.clone JOIN k8sreq.requests r ON r.id = d.request \
                      WHERE d.before < $4 ORDER BY d.ended_at, d.request, d.copy",
                    [
                        Value.number owner
                        Value.number number
                        Value.small most
                        Value.number UnsentLetter.mostBytes
                    ],
                    fun row -> {
                        Letter = letterIn row
                        Code = row.GetString 16
                        Request = contentIn row
                    }
                )

        member _.SetSent(id: CopyId) : unit =
            session.Do(
                "UPDATE k8sreq.dead_letters SET sink_owner = NULL WHERE request = $1 AND copy = $2 AND sink_owner = $3",
                Value.number id.Request,
                Value.small id.Copy,
                Value.number owner
            )

        member _.Read(id: CopyId) : (DeadLetter * CapturedRequest) option =
            session.Rows(
                $"SELECT {letterColumns}, r.fields_end, r.wire FROM {withRequests} WHERE d.request = $1 AND d.copy = $2",
                [ Value.number id.Request; Value.small id.Copy ],
                fun row -> letterIn row, contentIn row
            )
            |> List.tryHead

        member _.Count(filter: DeadLetterFilter) : (ObjectKey * int64) list =
            let condition, values = conditionOf filter

            session.Rows(
                $"SELECT k.namespace, k.name, count(*) FROM k8sreq.dead_letters d JOIN k8sreq.clones k ON k.id = d.clone \
                  WHERE {condition} GROUP BY k.namespace, k.name",
                values,
                fun row -> ObjectKey.create (row.GetString 0) (row.GetString 1), row.GetInt64 2
            )

        member _.Replay
            (filter: DeadLetterFilter, now: DateTimeOffset, interval: TimeSpan, tryTake: RemovedLetter -> bool) : RemovedLetter list =
            let replayed = select filter tryTake

            if not replayed.IsEmpty then
                let dues =
                    replayed
                    |> List.mapi (fun index _ -> milliseconds (now + interval * float index))
                    |> Array.ofList

                session.Do(
                    "INSERT INTO k8sreq.copies (request, copy, owner, clone, bytes, state, due, since) \
                     SELECT d.request, d.copy, $4, d.clone, d.bytes, 1, e.due, e.due \
                     FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS e (request, copy, due) \
                     JOIN k8sreq.dead_letters d ON d.request = e.request AND d.copy = e.copy",
                    [| yield! idsOf replayed; Value.numbers dues; Value.number owner |]
                )

                deleteRows replayed

            replayed

        member _.Drop(filter: DeadLetterFilter) : RemovedLetter list =
            let dropped = select filter (fun _ -> true)

            if not dropped.IsEmpty then
                deleteRows dropped

                for letter in dropped do
                    requests.DeleteUnused letter.Id.Request

            dropped

        member _.Prune(now: DateTimeOffset, most: int) : RemovedLetter list =
            removeThose
                "SELECT d.request, d.copy FROM k8sreq.dead_letters d WHERE d.keep_until <= $1 ORDER BY d.keep_until LIMIT $2"
                [ Value.number (milliseconds now); Value.small most ]
