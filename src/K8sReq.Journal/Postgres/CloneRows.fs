namespace K8sReq.Journal.Postgres

open System.Collections.Generic
open K8sReq.Core

/// The RequestClones of the journal: rows name them by a number, which they keep.
[<Sealed>]
type CloneRows(session: PostgresSession) =
    let numbers = Dictionary<ObjectKey, int64>()

    let know (clone: ObjectKey) (number: int64) =
        numbers[clone] <- number
        number

    let find (clone: ObjectKey) : int64 voption =
        session.Number(
            "SELECT id FROM k8sreq.clones WHERE namespace = $1 AND name = $2",
            Value.text clone.Namespace,
            Value.text clone.Name
        )

    let insert (clone: ObjectKey) : int64 voption =
        session.Number(
            "INSERT INTO k8sreq.clones (namespace, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id",
            Value.text clone.Namespace,
            Value.text clone.Name
        )

    member _.TryFind(clone: ObjectKey) : int64 voption =
        match numbers.TryGetValue clone with
        | true, number -> ValueSome number
        | false, _ -> find clone |> ValueOption.map (know clone)

    member rows.Of(clone: ObjectKey) : int64 =
        rows.TryFind clone
        |> ValueOption.orElseWith (fun () -> insert clone |> ValueOption.map (know clone))
        // Another replica was first.
        |> ValueOption.defaultWith (fun () -> find clone |> ValueOption.get |> know clone)
