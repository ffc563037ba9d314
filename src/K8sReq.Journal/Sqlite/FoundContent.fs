namespace K8sReq.Journal.Sqlite

open System
open System.Buffers
open System.Collections.Generic
open K8sReq.Core
open K8sReq.Journal

/// What is there at the first opening.
module FoundContent =
    let private time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    let private clonesIn (database: Database) : Map<int64, ObjectKey> =
        use found = database.PrepareOnce "SELECT id, namespace, name FROM clones"

        Map [
            while found.Step() do
                found.Number 0, ObjectKey.create (found.Text 1) (found.Text 2)
        ]

    // Goes through all copies once, in the order of their requests. Summed up here and not by SQL, which would sort all of them
    // first: there may be millions, and a start must not take the memory for that.
    let private scan (database: Database) : Dictionary<int64, struct (WaitingCopies * int64)> * CopyId list =
        use copies =
            database.PrepareOnce
                "SELECT clone, bytes, due, request, copy, suspicion FROM copies ORDER BY request, copy"

        let waiting = Dictionary<int64, struct (WaitingCopies * int64)>()
        let suspects = ResizeArray<CopyId>()

        while copies.Step() do
            let clone, bytes, due, request =
                copies.Number 0, copies.Number 1, time (copies.Number 2), copies.Number 3

            waiting[clone] <-
                match waiting.TryGetValue clone with
                | true, struct (before, first) ->
                    struct ({
                                before with
                                    Copies = before.Copies + 1L
                                    Bytes = before.Bytes + bytes
                                    Due = min before.Due due
                            },
                            first)
                | false, _ ->
                    struct ({
                                Copies = 1L
                                Bytes = bytes
                                Due = due
                                Oldest = DateTimeOffset.UnixEpoch
                            },
                            request)

            if copies.Number 5 >= DeadEntry.mostEnds then
                suspects.Add {
                    Request = request
                    Copy = int (copies.Number 4)
                }

        waiting, List.ofSeq suspects

    /// What waits in the file, by RequestClone.
    let waiting (database: Database) : (ObjectKey * WaitingCopies) list =
        use found =
            database.PrepareOnce
                "SELECT k.namespace, k.name, count(*), sum(c.bytes), min(c.due), \
                 min(CASE c.since WHEN 0 THEN r.received_at ELSE c.since END) \
                 FROM copies c JOIN clones k ON k.id = c.clone JOIN requests r ON r.id = c.request WHERE c.state = 1 GROUP BY c.clone"

        [
            while found.Step() do
                ObjectKey.create (found.Text 0) (found.Text 1),
                {
                    Copies = found.Number 2
                    Bytes = found.Number 3
                    Due = time (found.Number 4)
                    Oldest = time (found.Number 5)
                }
        ]

    let private receivedAt (database: Database) (request: int64) : DateTimeOffset =
        time (database.Number $"SELECT received_at FROM requests WHERE id = {request}")

    let private entryOf
        (database: Database)
        (now: DateTimeOffset)
        (keep: TimeSpan)
        (id: CopyId)
        : DeadEntry option =
        use found =
            database.PrepareOnce
                "SELECT k.namespace, k.name, c.bytes, c.attempts, r.host, r.method, r.fields_end, substr(r.wire, 1, r.fields_end) \
                 FROM copies c JOIN clones k ON k.id = c.clone JOIN requests r ON r.id = c.request WHERE c.request = ?1 AND c.copy = ?2"

        found.Bind(1, id.Request).Bind(2, int64 id.Copy) |> ignore

        if found.Step() then
            Some(
                DeadEntry.poisonous
                    now
                    keep
                    id
                    (ObjectKey.create (found.Text 0) (found.Text 1))
                    (found.Number 2)
                    (found.Number 3)
                    {
                        Host = found.Text 4
                        Method = found.Text 5
                        Wire = ReadOnlySequence(found.Bytes(7).ToArray())
                        FieldsEnd = found.Number 6
                    }
            )
        else
            None

    /// Reads what is there, and makes dead letters of the copies that are not to be sent again. With what waits after that.
    let read
        (database: Database)
        (letters: DeadLetterRows)
        (now: DateTimeOffset)
        (keep: TimeSpan)
        : JournalContent * (ObjectKey * WaitingCopies) list =
        let clones = clonesIn database
        let waiting, suspects = scan database

        let found = [
            for KeyValue(clone, struct (copies, first)) in waiting ->
                clones[clone],
                {
                    copies with
                        Oldest = receivedAt database first
                }
        ]

        database.Execute "BEGIN IMMEDIATE"
        let poisonous = suspects |> List.choose (entryOf database now keep)

        for entry in poisonous do
            letters.Add entry |> ignore

        database.Execute "COMMIT"

        let left = [
            for clone, copies in found do
                let parked = poisonous |> List.filter (fun entry -> entry.Clone = clone)
                let count = copies.Copies - int64 parked.Length

                if count > 0L then
                    clone,
                    {
                        copies with
                            Copies = count
                            Bytes = copies.Bytes - List.sumBy (fun (entry: DeadEntry) -> entry.Bytes) parked
                    }
        ]

        {
            Waiting = found
            Poisonous = poisonous
            Letters = letters.Found
            Unsent = letters.FoundUnsent
            Damage = None
        },
        left
