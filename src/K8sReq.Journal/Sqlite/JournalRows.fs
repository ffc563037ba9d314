namespace K8sReq.Journal.Sqlite

open System
open System.Buffers
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

/// The statements of the journal, on an open database.
[<Sealed>]
type JournalRows(folder: string, database: Database, deadLetterLimit: int64, suspects: Suspects) =
    // What was written at the opening is on disk. From here on SQLite syncs no commit by itself.
    do database.Execute "PRAGMA synchronous = NORMAL"
    let log = new LogSync(JournalFile.logOf (JournalFile.pathIn folder))
    let room = JournalRoom.Of(folder, database)
    let clones = CloneRows database
    let requests = RequestRows database
    let letters = DeadLetterRows(database, clones, requests, deadLetterLimit)
    let packs = PackRows(database, requests)

    let beginning = database.Prepare "BEGIN IMMEDIATE"
    let commit = database.Prepare "COMMIT"

    // What has outlived an attempt is under no suspicion.
    let attempted =
        database.Prepare
            "UPDATE copies SET attempts = ?3, suspicion = 0, state = 0 WHERE request = ?1 AND copy = ?2"

    let shelve =
        database.Prepare
            "UPDATE copies SET suspicion = CASE WHEN attempts < ?3 THEN 0 ELSE suspicion END, state = 1, attempts = ?3, due = ?4 \
             WHERE request = ?1 AND copy = ?2"

    let deleteCopies = database.Prepare "DELETE FROM copies WHERE request = ?1"
    let deleteWhole = database.Prepare "DELETE FROM requests WHERE id = ?1"

    let select =
        database.Prepare
            "SELECT c.request, c.copy, c.bytes, c.attempts, r.received_at, r.host, r.method, r.fields_end, r.wire, \
             r.request_id, c.suspicion, CASE c.since WHEN 0 THEN r.received_at ELSE c.since END \
             FROM copies c INDEXED BY copies_waiting JOIN requests r ON r.id = c.request \
             WHERE c.state = 1 AND c.clone = ?1 AND c.due <= ?2 AND c.suspicion <= ?4 ORDER BY c.due LIMIT ?3"

    let selectIds =
        database.Prepare
            "SELECT request, copy, bytes FROM copies INDEXED BY copies_waiting WHERE state = 1 AND clone = ?1 ORDER BY due LIMIT 1000"

    let putBack =
        database.Prepare "UPDATE copies SET state = 1 WHERE request = ?1 AND copy = ?2"

    let load =
        database.Prepare
            "UPDATE copies SET state = CASE suspicion WHEN 0 THEN 0 ELSE 2 END WHERE request = ?1 AND copy = ?2"

    let nextDue =
        database.Prepare
            "SELECT due FROM copies INDEXED BY copies_waiting WHERE state = 1 AND clone = ?1 ORDER BY due LIMIT 1"

    let oldest =
        database.Prepare
            "SELECT CASE c.since WHEN 0 THEN r.received_at ELSE c.since END \
             FROM copies c INDEXED BY copies_oldest JOIN requests r ON r.id = c.request \
             WHERE c.state = 1 AND c.clone = ?1 ORDER BY c.request LIMIT 1"

    let setNumber =
        database.Prepare "INSERT OR REPLACE INTO numbers (name, value) VALUES (?1, ?2)"

    // Requests below it have numbers that are never given again, also after they are gone.
    let mutable reserved =
        database.Number "SELECT value FROM numbers WHERE name = 'next request'"

    // Written once for so many requests.
    let numbersAtOnce = 1_000_000L

    let milliseconds (time: DateTimeOffset) = time.ToUnixTimeMilliseconds()

    let time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    let reserveNumbers (next: int64) =
        reserved <- next + numbersAtOnce
        setNumber.Bind(1, "next request").Bind(2, reserved).Run()

    let remove (request: int64) =
        packs.Delete request
        deleteCopies.Bind(1, request).Run()
        deleteWhole.Bind(1, request).Run()

    let forCopy (statement: Statement) (id: CopyId) =
        statement.Bind(1, id.Request).Bind(2, int64 id.Copy)

    let read (clone: ObjectKey) (now: DateTimeOffset) : StoredCopy =
        let wire = select.Bytes(8).ToArray()
        let requestId = select.Bytes 9

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
            RequestId =
                if requestId.Length = 16 then
                    Guid(requestId, true)
                else
                    Guid.Empty
            Bytes = select.Number 2
            Age = max TimeSpan.Zero (now - time (select.Number 11))
            Attempts = int (select.Number 3)
            IsSuspect = select.Number 10 > 0L
            Epoch = 0L
        }

    let takeCopies (clone: ObjectKey) (id: int64) (most: int) (mostBytes: int64) (now: DateTimeOffset) =
        let taken = ResizeArray<StoredCopy>()
        let mutable bytes = 0L

        select.Bind(1, id).Bind(2, milliseconds now).Bind(3, int64 most).Bind(4, suspects.Highest id)
        |> ignore

        while bytes < mostBytes && select.Step() do
            let suspicion = select.Number 10

            if suspicion <= suspects.Highest id then
                let copy = read clone now
                suspects.Add(id, copy.Id, suspicion)
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
            requests.DeleteCopy copy
            requests.DeleteUnused copy.Request

        struct (dropped.Count, bytes)

    let restOf (id: int64) : RestOfBacklog voption =
        nextDue.Bind(1, id) |> ignore

        if nextDue.Step() then
            let due = time (nextDue.Number 0)
            nextDue.Reset()

            ValueSome {
                Due = due
                Oldest = time (oldest.Bind(1, id).RunForNumber())
            }
        else
            ValueNone

    interface IJournalRows with
        member _.NumberOf(clone: ObjectKey) : int64 = clones.Of clone
        member _.TryNumberOf(clone: ObjectKey) : int64 voption = clones.TryFind clone

        member _.Reserve(request: int64) : unit =
            if request >= reserved then
                reserveNumbers request

        member _.InsertRequest(row: RequestRow) : unit = requests.Insert row

        member _.InsertCopy(row: RequestRow, copy: DurableCopy, clone: int64) : unit =
            requests.InsertCopy(row.Number, copy.Copy, clone, row.Bytes, copy.IsSpilled)

        member _.InsertPack(id: int64, pack: RequestPack) : unit = packs.Insert(id, pack)

        member _.SetAttempts(id: CopyId, attempts: int) : unit =
            (forCopy attempted id).Bind(3, int64 attempts).Run()

        member _.Shelve(copy: ShelvedCopy) : unit =
            (forCopy shelve copy.Id).Bind(3, int64 copy.Attempts).Bind(4, milliseconds copy.Due).Run()

        member _.DeleteCopy(id: CopyId) : unit =
            requests.DeleteCopy id
            requests.DeleteUnused id.Request

        member _.SetEnded(id: CopyId) : unit = packs.SetEnded id

        member _.DeletePack(pack: LivePack) : unit =
            packs.Delete pack.Id

            if pack.HasWrittenEnds then
                Seq.iter packs.DeleteEnds pack.Requests

        member _.Unpack(pack: int64) : unit = packs.Unpack pack
        member _.AddLetter(entry: DeadEntry) : RemovedLetter list = letters.Add entry
        member _.Letters: IKeptLetters = letters
        member _.Drop(clone: int64) : struct (int * int64) = dropCopies clone

        member _.Take
            (clone: ObjectKey, number: int64, most: int, mostBytes: int64, now: DateTimeOffset)
            : StoredCopy list =
            takeCopies clone number most mostBytes now

        member _.RestOf(clone: int64) : RestOfBacklog voption = restOf clone

    interface IOpenJournal with
        member _.Epoch = 0L
        member _.Leave() : unit = ()

        member _.Recount() : JournalUpkeep = {
            JournalUpkeep.nothing with
                Adopted = FoundContent.waiting database
                Unsent = letters.FoundUnsent
                Letters = Some letters.Found
        }

        member _.Upkeep(_: DateTimeOffset, _: TimeSpan) : JournalUpkeep = JournalUpkeep.nothing

        member _.ReadContent(now: DateTimeOffset, keep: TimeSpan) =
            let found = FoundContent.read database letters now keep
            // It makes dead letters.
            log.Sync()
            found

        member _.HasRoom(isFull: bool, bytes: int64) : bool = room.IsThere(isFull, bytes)

        member _.Begin() : unit = beginning.Run()

        member rows.Rows = rows

        member _.Commit() : unit =
            commit.Run()
            log.Sync()

        member _.PutBack(id: CopyId) : unit = (forCopy putBack id).Run()

        member _.Remove(request: int64) : unit = remove request

        member _.LastNumber: int64 =
            max (database.Number "SELECT max(id) FROM requests") (reserved - 1L)

        member _.LastTime: DateTimeOffset =
            max
                (time (
                    database.Number
                        "SELECT max(received_at) FROM (SELECT received_at FROM requests ORDER BY id DESC LIMIT 1)"
                ))
                (time (database.Number "SELECT value FROM numbers WHERE name = 'last time'"))

        member _.SetLastTime(now: DateTimeOffset) : unit =
            setNumber.Bind(1, "last time").Bind(2, milliseconds now).Run()

    interface IDisposable with
        member _.Dispose() =
            (database :> IDisposable).Dispose()
            (log :> IDisposable).Dispose()
