namespace K8sReq.Journal.Sqlite

open System
open System.Buffers
open K8sReq.Core
open K8sReq.Journal

/// The dead letters of the journal, on an open database. They have a quarter of its limit, beside what copies may take: beyond
/// it the oldest go. All within the transaction that has begun.
[<Sealed>]
type DeadLetterRows(database: Database, clones: CloneRows, requests: RequestRows, limit: int64) =
    let milliseconds (time: DateTimeOffset) = time.ToUnixTimeMilliseconds()

    let time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    let insert =
        database.Prepare
            "INSERT OR REPLACE INTO dead_letters (request, copy, clone, bytes, cause, outcome, attempts, target, ended_at, keep_until, code, sink) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"

    let delete =
        database.Prepare "DELETE FROM dead_letters WHERE request = ?1 AND copy = ?2"

    let oldest =
        database.Prepare
            "SELECT d.request, d.copy, k.namespace, k.name, d.bytes FROM dead_letters d JOIN clones k ON k.id = d.clone ORDER BY d.ended_at LIMIT 1"

    let aged =
        database.Prepare
            "SELECT d.request, d.copy, k.namespace, k.name, d.bytes FROM dead_letters d JOIN clones k ON k.id = d.clone \
             WHERE d.keep_until <= ?1 ORDER BY d.keep_until LIMIT ?2"

    let setSent =
        database.Prepare "UPDATE dead_letters SET sink = 0 WHERE request = ?1 AND copy = ?2"

    let insertCopy =
        database.Prepare
            "INSERT INTO copies (request, copy, clone, bytes, state, attempts, due, since) VALUES (?1, ?2, ?3, ?4, 1, 0, ?5, ?5)"

    // Bytes of all of them.
    let mutable held =
        database.Number "SELECT coalesce(sum(bytes), 0) FROM dead_letters"

    let forLetter (statement: Statement) (id: CopyId) =
        statement.Bind(1, id.Request).Bind(2, int64 id.Copy)

    let removedIn (statement: Statement) : RemovedLetter = {
        Id = {
            Request = statement.Number 0
            Copy = int (statement.Number 1)
        }
        Clone = ObjectKey.create (statement.Text 2) (statement.Text 3)
        Bytes = statement.Number 4
    }

    let removeRow (letter: RemovedLetter) =
        (forLetter delete letter.Id).Run()
        held <- held - letter.Bytes

    let remove (letter: RemovedLetter) =
        removeRow letter
        requests.DeleteUnused letter.Id.Request

    let pushOut () =
        let pushed = ResizeArray<RemovedLetter>()
        let mutable isOver = false

        while held > limit && not isOver do
            if oldest.Step() then
                let letter = removedIn oldest
                oldest.Reset()
                remove letter
                pushed.Add letter
            else
                isOver <- true

        List.ofSeq pushed

    let conditionOf (filter: DeadLetterFilter) : string * (Statement -> unit) =
        let conditions = LetterConditions.ofFilter filter

        LetterConditions.sql (fun index -> $"?{index}") conditions,
        fun statement ->
            for index, condition in List.indexed conditions do
                match condition.Value with
                | LetterValue.Number value -> statement.Bind(index + 1, value)
                | LetterValue.Text value -> statement.Bind(index + 1, value)
                |> ignore

    // Rare, and of many forms: prepared for each question. As many as the filter's limit of those that are accepted.
    let query
        (columns: string)
        (joins: string)
        (filter: DeadLetterFilter)
        (read: Statement -> 'Row)
        (isAccepted: 'Row -> bool)
        : 'Row list =
        let condition, bind = conditionOf filter

        use statement =
            database.PrepareOnce
                $"SELECT {columns} FROM dead_letters d JOIN clones k ON k.id = d.clone {joins} WHERE {condition} ORDER BY d.ended_at, d.request, d.copy"

        bind statement
        let rows = ResizeArray<'Row>()

        while rows.Count < filter.Limit && statement.Step() do
            let row = read statement

            if isAccepted row then
                rows.Add row

        List.ofSeq rows

    let any _ = true

    let letterColumns =
        "d.request, d.copy, k.namespace, k.name, d.bytes, d.cause, d.outcome, d.attempts, d.target, d.ended_at, r.received_at, r.host, r.method, r.request_id"

    let unsent =
        database.Prepare
            $"SELECT {letterColumns}, r.fields_end, r.wire, d.code FROM dead_letters d INDEXED BY dead_letters_unsent \
              JOIN clones k ON k.id = d.clone JOIN requests r ON r.id = d.request \
              WHERE d.sink = 1 AND d.clone = ?1 ORDER BY d.ended_at LIMIT ?2"

    let requestIdIn (statement: Statement) (column: int) =
        match statement.Bytes column with
        | bytes when bytes.Length = 16 -> Guid(bytes, true)
        | _ -> Guid.Empty

    let letterIn (statement: Statement) : DeadLetter =
        let row = removedIn statement

        {
            Id = row.Id
            Clone = row.Clone
            Bytes = row.Bytes
            RequestId = requestIdIn statement 13
            Host = statement.Text 11
            Method = statement.Text 12
            Target = statement.Text 8
            Cause = DeadCause.tryParse (statement.Text 5) |> Option.defaultValue DeadCause.Poison
            Outcome = statement.Text 6
            Attempts = int (statement.Number 7)
            ReceivedAt = time (statement.Number 10)
            EndedAt = time (statement.Number 9)
        }

    // Of a query whose next columns are the request's.
    let contentIn (statement: Statement) : CapturedRequest = {
        Host = statement.Text 11
        Method = statement.Text 12
        Wire = ReadOnlySequence(statement.Bytes(15).ToArray())
        FieldsEnd = statement.Number 14
    }

    let select (filter: DeadLetterFilter) (isAccepted: RemovedLetter -> bool) =
        query "d.request, d.copy, k.namespace, k.name, d.bytes" "" filter removedIn isAccepted

    /// A copy is a dead letter from now on; those that had to go for it.
    member _.Add(entry: DeadEntry) : RemovedLetter list =
        requests.DeleteCopy entry.Id

        (forLetter insert entry.Id)
            .Bind(3, clones.Of entry.Clone)
            .Bind(4, entry.Bytes)
            .Bind(5, DeadCause.name entry.Cause)
            .Bind(6, entry.Outcome)
            .Bind(7, int64 entry.Attempts)
            .Bind(8, entry.Target)
            .Bind(9, milliseconds entry.EndedAt)
            .Bind(10, milliseconds (entry.EndedAt + entry.Keep))
            .Bind(11, entry.Code)
            .Bind(12, (if entry.IsForSink then 1L else 0L))
            .Run()

        held <- held + entry.Bytes
        pushOut ()

    /// RequestClones that have some which are to be sent to their sinks.
    member _.FoundUnsent: ObjectKey list =
        use found =
            database.PrepareOnce
                "SELECT namespace, name FROM clones WHERE id IN (SELECT clone FROM dead_letters WHERE sink = 1)"

        [
            while found.Step() do
                ObjectKey.create (found.Text 0) (found.Text 1)
        ]

    /// What is kept, by RequestClone.
    member _.Found: (ObjectKey * DeadLetterCount) list =
        use found =
            database.PrepareOnce
                "SELECT k.namespace, k.name, count(*), sum(d.bytes) FROM dead_letters d JOIN clones k ON k.id = d.clone GROUP BY d.clone"

        [
            while found.Step() do
                ObjectKey.create (found.Text 0) (found.Text 1),
                {
                    Letters = found.Number 2
                    Bytes = found.Number 3
                }
        ]

    interface IKeptLetters with
        member _.List(filter: DeadLetterFilter) : DeadLetter list =
            query letterColumns "JOIN requests r ON r.id = d.request" filter letterIn any

        member _.Unsent(clone: ObjectKey, most: int) : UnsentLetter list =
            match clones.TryFind clone with
            | ValueNone -> []
            | ValueSome id ->
                unsent.Bind(1, id).Bind(2, int64 most) |> ignore
                let letters = ResizeArray<UnsentLetter>()
                let mutable bytes = 0L

                while bytes < UnsentLetter.mostBytes && unsent.Step() do
                    letters.Add {
                        Letter = letterIn unsent
                        Code = unsent.Text 16
                        Request = contentIn unsent
                    }

                    bytes <- bytes + unsent.Number 4

                unsent.Reset()
                List.ofSeq letters

        member _.SetSent(id: CopyId) : unit = (forLetter setSent id).Run()

        member _.Read(id: CopyId) : (DeadLetter * CapturedRequest) option =
            let filter = {
                DeadLetterFilter.everything with
                    Id = Some id
            }

            query
                (letterColumns + ", r.fields_end, r.wire")
                "JOIN requests r ON r.id = d.request"
                filter
                (fun statement -> letterIn statement, contentIn statement)
                any
            |> List.tryHead

        member _.Count(filter: DeadLetterFilter) : (ObjectKey * int64) list =
            let condition, bind = conditionOf filter

            use statement =
                database.PrepareOnce
                    $"SELECT k.namespace, k.name, count(*) FROM dead_letters d JOIN clones k ON k.id = d.clone WHERE {condition} GROUP BY d.clone"

            bind statement

            [
                while statement.Step() do
                    ObjectKey.create (statement.Text 0) (statement.Text 1), statement.Number 2
            ]

        member _.Replay
            (filter: DeadLetterFilter, now: DateTimeOffset, interval: TimeSpan, tryTake: RemovedLetter -> bool) : RemovedLetter list =
            let replayed = select filter tryTake

            for index, letter in List.indexed replayed do
                (forLetter insertCopy letter.Id)
                    .Bind(3, clones.Of letter.Clone)
                    .Bind(4, letter.Bytes)
                    .Bind(5, milliseconds (now + interval * float index))
                    .Run()

                removeRow letter

            replayed

        member _.Drop(filter: DeadLetterFilter) : RemovedLetter list =
            let dropped = select filter any
            List.iter remove dropped
            dropped

        member _.Prune(now: DateTimeOffset, most: int) : RemovedLetter list =
            aged.Bind(1, milliseconds now).Bind(2, int64 most) |> ignore
            let old = ResizeArray<RemovedLetter>()

            while aged.Step() do
                old.Add(removedIn aged)

            Seq.iter remove old
            List.ofSeq old
