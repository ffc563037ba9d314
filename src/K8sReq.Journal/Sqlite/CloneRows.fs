namespace K8sReq.Journal.Sqlite

open System.Collections.Generic
open K8sReq.Core
open K8sReq.Journal

/// The RequestClones of the journal, on an open database: rows name them by a number.
[<Sealed>]
type CloneRows(database: Database) =
    let find =
        database.Prepare "SELECT id FROM clones WHERE namespace = ?1 AND name = ?2"

    let insert =
        database.Prepare "INSERT INTO clones (namespace, name) VALUES (?1, ?2) RETURNING id"

    let ids = Dictionary<ObjectKey, int64>()

    member _.TryFind(clone: ObjectKey) : int64 voption =
        match ids.TryGetValue clone with
        | true, id -> ValueSome id
        | false, _ ->
            match find.Bind(1, clone.Namespace).Bind(2, clone.Name).RunForNumber() with
            | 0L -> ValueNone
            | id ->
                ids[clone] <- id
                ValueSome id

    member rows.Of(clone: ObjectKey) : int64 =
        match rows.TryFind clone with
        | ValueSome id -> id
        | ValueNone ->
            let id = insert.Bind(1, clone.Namespace).Bind(2, clone.Name).RunForNumber()
            ids[clone] <- id
            id
