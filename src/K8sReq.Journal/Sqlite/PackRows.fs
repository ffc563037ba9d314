namespace K8sReq.Journal.Sqlite

open K8sReq.Core
open K8sReq.Journal

/// Packs in the file, on an open database: a pack is a row whose number is that of its first request. Copies that have ended
/// before the others of their pack have a row each. All within the transaction that has begun.
[<Sealed>]
type PackRows(database: Database, rows: RequestRows) =
    let insert = database.Prepare "INSERT INTO packs (id, requests) VALUES (?1, ?2)"
    let select = database.Prepare "SELECT requests FROM packs WHERE id = ?1"
    let delete = database.Prepare "DELETE FROM packs WHERE id = ?1"
    let first = database.Prepare "SELECT id FROM packs LIMIT 1"

    let insertEnd =
        database.Prepare "INSERT OR IGNORE INTO packed_ends (request, copy) VALUES (?1, ?2)"

    let isEnded =
        database.Prepare "SELECT 1 FROM packed_ends WHERE request = ?1 AND copy = ?2"

    let deleteEnds = database.Prepare "DELETE FROM packed_ends WHERE request = ?1"

    // Each of up to some hundred KiB: what the log grows by stays small.
    let packsAtOnce = 8

    let requestsOf (id: int64) : PackedRequest list =
        if select.Bind(1, id).Step() then
            let bytes = select.Bytes(0).ToArray()
            select.Reset()

            match RequestPack.requestsIn bytes with
            | Some requests -> requests
            | None -> raise (SqliteError(SQLitePCL.raw.SQLITE_CORRUPT, $"pack {id} cannot be read"))
        else
            []

    let unpack (request: PackedRequest) =
        let number = request.Row.Number

        match
            request.Copies
            |> List.filter (fun copy -> isEnded.Bind(1, number).Bind(2, int64 copy.Copy).RunForNumber() = 0L)
        with
        | [] -> ()
        | left ->
            rows.Insert request.Row

            for copy in left do
                rows.InsertCopy(number, copy.Copy, copy.Clone, request.Row.Bytes, false)

        deleteEnds.Bind(1, number).Run()

    member _.Insert(id: int64, pack: RequestPack) : unit =
        insert.Bind(1, id).Bind(2, pack.Bytes).Run()

    /// This copy has ended, others of its pack have not.
    member _.SetEnded(copy: CopyId) : unit =
        insertEnd.Bind(1, copy.Request).Bind(2, int64 copy.Copy).Run()

    member _.Delete(id: int64) : unit = delete.Bind(1, id).Run()

    member _.DeleteEnds(request: int64) : unit = deleteEnds.Bind(1, request).Run()

    /// Makes rows of what has not ended, if the pack is there.
    member packs.Unpack(id: int64) : unit =
        List.iter unpack (requestsOf id)
        packs.Delete id

    /// The same of all packs, a transaction for some of them at a time: of a pack that is not unpacked yet nothing has changed.
    member packs.UnpackAll() : unit =
        let mutable isOver = false

        while not isOver do
            database.Execute "BEGIN IMMEDIATE"
            let mutable left = packsAtOnce

            while left > 0 do
                if first.Step() then
                    let id = first.Number 0
                    first.Reset()
                    packs.Unpack id
                    left <- left - 1
                else
                    left <- 0
                    isOver <- true

            if isOver then
                // Of a commit that was repeated.
                database.Execute "DELETE FROM packed_ends"

            database.Execute "COMMIT"
