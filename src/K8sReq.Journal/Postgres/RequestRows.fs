namespace K8sReq.Journal.Postgres

open System.Buffers
open System.Collections.Generic
open K8sReq.Core
open K8sReq.Journal

/// Requests and their copies, a row each. `owner`: the program's number; nothing is done to another's copies. What has ended
/// is removed together, before anything is read and at the transaction's end.
[<Sealed>]
type RequestRows(session: PostgresSession, owner: int64) =
    let ended = List<CopyId>()
    // Requests of which something was removed.
    let touched = HashSet<int64>()

    let requestsOf (copies: CopyId seq) =
        copies |> Seq.map _.Request |> Array.ofSeq |> Value.numbers

    let placesOf (copies: CopyId seq) =
        copies |> Seq.map _.Copy |> Array.ofSeq |> Value.smalls

    member _.Insert(row: RequestRow) : unit =
        session.Do(
            "INSERT INTO k8sreq.requests (id, received_at, host, method, fields_end, bytes, wire, request_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            Value.number row.Number,
            Value.number row.ReceivedAt,
            Value.text row.Host,
            Value.text row.Method,
            Value.number row.FieldsEnd,
            Value.number row.Bytes,
            Value.bytes (row.Wire.ToArray()),
            Value.id row.RequestId
        )

    /// A copy of a request for a RequestClone, which is named by its number. `state`: see `PostgresSchema`.
    member _.InsertCopy
        (request: int64, copy: int, clone: int64, bytes: int64, state: int, suspicion: int64)
        : unit =
        session.Do(
            "INSERT INTO k8sreq.copies (request, copy, owner, clone, bytes, state, suspicion) \
             VALUES ($1, $2, $3, $4, $5, $6::smallint, $7)",
            Value.number request,
            Value.small copy,
            Value.number owner,
            Value.number clone,
            Value.number bytes,
            Value.small state,
            Value.number suspicion
        )

    member _.DeleteCopy(copy: CopyId) : unit =
        ended.Add copy
        touched.Add copy.Request |> ignore

    /// Removes a request if neither a copy nor a dead letter of it is left then.
    member _.DeleteUnused(request: int64) : unit = touched.Add request |> ignore

    /// Changes one copy: the rest of an UPDATE, whose parameters begin with $4.
    member _.Change
        (copy: CopyId, change: string, [<System.ParamArray>] values: Npgsql.NpgsqlParameter[])
        : unit =
        session.Do(
            $"UPDATE k8sreq.copies SET {change} WHERE request = $1 AND copy = $2 AND owner = $3",
            [|
                Value.number copy.Request
                Value.small copy.Copy
                Value.number owner
                yield! values
            |]
        )

    /// Everything of a request, if it is there.
    member _.DeleteAll(request: int64) : unit =
        session.Do(
            "DELETE FROM k8sreq.copies WHERE request = $1 AND owner = $2",
            Value.number request,
            Value.number owner
        )

        touched.Add request |> ignore

    /// These copies, named by their requests and their own numbers, as a table `e` for a statement whose first two parameters
    /// they are.
    static member Table = "unnest($1::bigint[], $2::int[])"

    static member ParametersOf(copies: CopyId seq) : Npgsql.NpgsqlParameter list = [
        copies |> Seq.map _.Request |> Array.ofSeq |> Value.numbers
        copies |> Seq.map _.Copy |> Array.ofSeq |> Value.smalls
    ]

    /// Adds what is to be removed to the transaction.
    member _.Settle() : unit =
        if ended.Count > 0 then
            session.Do(
                $"DELETE FROM k8sreq.copies c USING {RequestRows.Table} AS e (request, copy) \
                  WHERE c.request = e.request AND c.copy = e.copy AND c.owner = $3",
                requestsOf ended,
                placesOf ended,
                Value.number owner
            )

            ended.Clear()

        if touched.Count > 0 then
            let requests = Array.ofSeq touched
            touched.Clear()
            Array.sortInPlace requests

            // Another replica may be removing the other copies: who comes second sees what the first has done. In an order, or
            // each could wait for the other.
            session.Ask(
                "SELECT 1 FROM k8sreq.requests WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
                Value.numbers requests
            )

            session.Do(
                "DELETE FROM k8sreq.requests r WHERE r.id = ANY ($1) \
                 AND NOT EXISTS (SELECT 1 FROM k8sreq.copies c WHERE c.request = r.id) \
                 AND NOT EXISTS (SELECT 1 FROM k8sreq.dead_letters d WHERE d.request = r.id)",
                Value.numbers requests
            )
