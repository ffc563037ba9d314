namespace K8sReq.Journal.Postgres

open System
open System.Buffers
open System.Collections.Generic
open Npgsql
open K8sReq.Core
open K8sReq.Journal

/// Takes over what a replica that has gone has left: some at a time, within the transaction that has begun.
[<Sealed>]
type Adoption(session: PostgresSession, owner: int64, packs: PackRows, letters: DeadLetterRows) =
    // Of up to some hundred KiB each.
    let packsAtOnce = 8
    let copiesAtOnce = 1000

    let time (milliseconds: int64) =
        DateTimeOffset.FromUnixTimeMilliseconds milliseconds

    let add (sums: Dictionary<ObjectKey, WaitingCopies>) (clone: ObjectKey) (one: WaitingCopies) =
        sums[clone] <-
            match sums.TryGetValue clone with
            | true, before -> WaitingCopies.join before one
            | false, _ -> one

    // Copies in rows: those that waited (`state = 1`), or those that were in memory. With the id, the RequestClone, what it
    // adds to what waits, and how many ends it has met.
    let adoptRows (dead: int64) (those: string) (change: string) =
        session.Rows(
            $"UPDATE k8sreq.copies c SET owner = $1, {change} FROM \
              (SELECT request, copy FROM k8sreq.copies WHERE owner = $2 AND {those} LIMIT $3) d \
              JOIN k8sreq.requests r ON r.id = d.request, k8sreq.clones k \
              WHERE c.request = d.request AND c.copy = d.copy AND k.id = c.clone \
              RETURNING c.request, c.copy, k.namespace, k.name, c.bytes, c.due, \
              CASE c.since WHEN 0 THEN r.received_at ELSE c.since END, c.suspicion",
            [ Value.number owner; Value.number dead; Value.small copiesAtOnce ],
            fun row ->
                {
                    Request = row.GetInt64 0
                    Copy = row.GetInt32 1
                },
                ObjectKey.create (row.GetString 2) (row.GetString 3),
                {
                    Copies = 1L
                    Bytes = row.GetInt64 4
                    Due = time (row.GetInt64 5)
                    Oldest = time (row.GetInt64 6)
                },
                row.GetInt64 7
        )

    let entryOf (now: DateTimeOffset) (keep: TimeSpan) (id: CopyId) : DeadEntry option =
        session.Rows(
            "SELECT k.namespace, k.name, c.bytes, c.attempts, r.host, r.method, r.fields_end, \
             substring(r.wire FROM 1 FOR r.fields_end::int) \
             FROM k8sreq.copies c JOIN k8sreq.clones k ON k.id = c.clone JOIN k8sreq.requests r ON r.id = c.request \
             WHERE c.request = $1 AND c.copy = $2",
            [ Value.number id.Request; Value.small id.Copy ],
            fun row ->
                DeadEntry.poisonous
                    now
                    keep
                    id
                    (ObjectKey.create (row.GetString 0) (row.GetString 1))
                    (row.GetInt64 2)
                    (row.GetInt64 3)
                    {
                        Host = row.GetString 4
                        Method = row.GetString 5
                        FieldsEnd = row.GetInt64 6
                        Wire = ReadOnlySequence(row.GetFieldValue<byte[]> 7)
                    }
        )
        |> List.tryHead

    // RequestClones by their numbers, of copies in packs.
    let clonesOf (numbers: int64 list) : Map<int64, ObjectKey> =
        if numbers.IsEmpty then
            Map.empty
        else
            session.Rows(
                "SELECT id, namespace, name FROM k8sreq.clones WHERE id = ANY ($1)",
                [ Value.numbers (Array.ofList numbers) ],
                fun row -> row.GetInt64 0, ObjectKey.create (row.GetString 1) (row.GetString 2)
            )
            |> Map.ofList

    /// Some of what is left; and whether there is more.
    member _.TakeOver(dead: int64, now: DateTimeOffset, keep: TimeSpan) : JournalUpkeep =
        let sums = Dictionary<ObjectKey, WaitingCopies>()
        let struct (packCount, packed) = packs.Adopt(dead, packsAtOnce)

        let clones =
            packed |> List.map (fun (_, clone, _) -> clone) |> List.distinct |> clonesOf

        for _, clone, row in packed do
            add sums clones[clone] {
                Copies = 1L
                Bytes = row.Bytes
                Due = DateTimeOffset.UnixEpoch
                Oldest = time row.ReceivedAt
            }

        let waiting = adoptRows dead "state = 1" "state = 1"

        let held =
            adoptRows
                dead
                "state <> 1"
                "suspicion = CASE c.state WHEN 2 THEN c.suspicion + 1 ELSE greatest(c.suspicion, 1) END, state = 1, due = 0"

        let isPoisonous (_, _, _, ends) = ends >= DeadEntry.mostEnds

        for _, clone, copy, _ in waiting @ List.filter (isPoisonous >> not) held do
            add sums clone copy

        let poisonous =
            held
            |> List.filter isPoisonous
            |> List.choose (fun (id, _, _, _) -> entryOf now keep id)

        for entry in poisonous do
            letters.Add entry |> ignore

        let unsent, hasMoreUnsent = letters.Adopt(dead, copiesAtOnce)

        {
            Adopted = [
                for KeyValue(clone, copies) in sums do
                    clone, copies
            ]
            Poisonous = poisonous
            Unsent = unsent
            Letters = None
            Replicas = None
            IsMore =
                packCount = packsAtOnce
                || waiting.Length = copiesAtOnce
                || held.Length = copiesAtOnce
                || hasMoreUnsent
        }
