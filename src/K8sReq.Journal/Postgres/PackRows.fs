namespace K8sReq.Journal.Postgres

open System.Collections.Generic
open System.IO
open K8sReq.Core
open K8sReq.Journal

/// Packs: a pack is a row whose number is that of its first request. Copies that have ended before the others of their pack have a
/// row each.
[<Sealed>]
type PackRows(session: PostgresSession, owner: int64, rows: RequestRows) =
    let over = List<int64>()
    let overEnds = List<int64>()

    let endedOf (requests: int64[]) : Set<CopyId> =
        session.Rows(
            "SELECT request, copy FROM k8sreq.packed_ends WHERE request = ANY ($1)",
            [ Value.numbers requests ],
            fun row -> {
                Request = row.GetInt64 0
                Copy = row.GetInt32 1
            }
        )
        |> Set.ofList

    let unpackOne (state: int) (suspicion: int64) (ended: Set<CopyId>) (request: PackedRequest) =
        let number = request.Row.Number

        let left =
            request.Copies
            |> List.filter (fun copy -> not (ended.Contains { Request = number; Copy = copy.Copy }))

        if not left.IsEmpty then
            rows.Insert request.Row

        for copy in left do
            rows.InsertCopy(number, copy.Copy, copy.Clone, request.Row.Bytes, state, suspicion)

        left
        |> List.map (fun copy -> { Request = number; Copy = copy.Copy }, copy.Clone, request.Row)

    let unpack (state: int) (suspicion: int64) (id: int64, bytes: byte[]) =
        match RequestPack.requestsIn bytes with
        | Some requests ->
            let numbers = requests |> List.map _.Row.Number |> Array.ofList
            let left = requests |> List.collect (unpackOne state suspicion (endedOf numbers))
            session.Do("DELETE FROM k8sreq.packed_ends WHERE request = ANY ($1)", Value.numbers numbers)
            left
        | None -> raise (InvalidDataException $"pack {id} cannot be read")

    let packIn (row: Npgsql.NpgsqlDataReader) =
        row.GetInt64 0, row.GetFieldValue<byte[]> 1

    member _.Insert(id: int64, pack: RequestPack) : unit =
        session.Do(
            "INSERT INTO k8sreq.packs (id, owner, requests) VALUES ($1, $2, $3)",
            Value.number id,
            Value.number owner,
            Value.bytes (pack.Bytes.ToArray())
        )

    /// This copy has ended, others of its pack have not.
    member _.SetEnded(copy: CopyId) : unit =
        session.Do(
            "INSERT INTO k8sreq.packed_ends (request, copy) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            Value.number copy.Request,
            Value.small copy.Copy
        )

    member _.Delete(id: int64) : unit = over.Add id

    member _.DeleteEnds(requests: int64 seq) : unit = overEnds.AddRange requests

    /// Makes rows of what has not ended, if the pack is there.
    member _.Unpack(id: int64) : unit =
        session.Rows(
            "DELETE FROM k8sreq.packs WHERE id = $1 AND owner = $2 RETURNING id, requests",
            [ Value.number id; Value.number owner ],
            packIn
        )
        |> List.iter (unpack 0 0L >> ignore)

    /// The same of some packs of another replica that has gone: their copies wait from now on, and were in its memory. All
    /// copies with their RequestClones and requests; fewer than `most` packs are all that there were.
    member _.Adopt(dead: int64, most: int) : struct (int * (CopyId * int64 * RequestRow) list) =
        let packs =
            session.Rows(
                "DELETE FROM k8sreq.packs WHERE id IN \
                 (SELECT id FROM k8sreq.packs WHERE owner = $1 ORDER BY id LIMIT $2) RETURNING id, requests",
                [ Value.number dead; Value.small most ],
                packIn
            )

        struct (packs.Length, packs |> List.collect (unpack 1 1L))

    /// Adds what is to be removed to the transaction.
    member _.Settle() : unit =
        if over.Count > 0 then
            session.Do(
                "DELETE FROM k8sreq.packs WHERE id = ANY ($1) AND owner = $2",
                Value.numbers (over.ToArray()),
                Value.number owner
            )

            over.Clear()

        if overEnds.Count > 0 then
            session.Do(
                "DELETE FROM k8sreq.packed_ends WHERE request = ANY ($1)",
                Value.numbers (overEnds.ToArray())
            )

            overEnds.Clear()
