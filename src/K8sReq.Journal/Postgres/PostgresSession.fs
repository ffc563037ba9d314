namespace K8sReq.Journal.Postgres

open System
open System.Collections.Generic
open System.Data
open Npgsql

/// A value of a statement, in the order of its parameters.
module Value =
    let number (value: int64) : NpgsqlParameter =
        NpgsqlParameter<int64>(TypedValue = value)

    let small (value: int) : NpgsqlParameter =
        NpgsqlParameter<int>(TypedValue = value)

    let text (value: string) : NpgsqlParameter =
        NpgsqlParameter<string>(TypedValue = value)

    let bytes (value: byte[]) : NpgsqlParameter =
        NpgsqlParameter<byte[]>(TypedValue = value)

    let id (value: Guid) : NpgsqlParameter =
        NpgsqlParameter<Guid>(TypedValue = value)

    let numbers (values: int64[]) : NpgsqlParameter =
        NpgsqlParameter<int64[]>(TypedValue = values)

    let smalls (values: int[]) : NpgsqlParameter =
        NpgsqlParameter<int[]>(TypedValue = values)

/// Statements on one connection, a transaction at a time. What has no answer waits for what has one, or for the end: all of it
/// goes to the server in one message then, so that most transactions are one way there and back.
[<Sealed>]
type PostgresSession(connection: NpgsqlConnection, closed: unit -> unit) =
    let pending = List<NpgsqlBatchCommand>()
    // So many of them have rows, which nobody reads.
    let mutable unread = 0
    // Only where something is read: statements that are sent together are a transaction of their own.
    let mutable transaction: NpgsqlTransaction | null = null
    let mutable warning: string option = None

    do
        connection.Notice.Add(fun notice ->
            if notice.Notice.InvariantSeverity = "WARNING" then
                warning <- Some notice.Notice.MessageText)

    let add (sql: string) (values: NpgsqlParameter seq) =
        let command = NpgsqlBatchCommand sql

        for value in values do
            command.Parameters.Add value |> ignore

        pending.Add command

    let batchOfPending () =
        let batch = new NpgsqlBatch(connection, transaction)

        for command in pending do
            batch.BatchCommands.Add command

        pending.Clear()
        batch

    /// What is to be added to the transaction before anything is read in it, and before it ends.
    member val Settle: unit -> unit = ignore with get, set

    /// Runs it before the transaction ends.
    member _.Do(sql: string, [<ParamArray>] values: NpgsqlParameter[]) : unit = add sql values

    /// The same of a statement whose rows do not matter.
    member _.Ask(sql: string, [<ParamArray>] values: NpgsqlParameter[]) : unit =
        add sql values
        unread <- unread + 1

    /// Runs it now, with its rows. It sees what was done before it.
    member session.Rows
        (sql: string, values: NpgsqlParameter list, read: NpgsqlDataReader -> 'Row)
        : 'Row list =
        session.Settle()

        if isNull transaction then
            transaction <- connection.BeginTransaction IsolationLevel.ReadCommitted

        add sql values
        use batch = batchOfPending ()
        use reader = batch.ExecuteReader()

        while unread > 0 do
            unread <- unread - 1
            reader.NextResult() |> ignore

        [
            while reader.Read() do
                read reader
        ]

    /// The first number of the first row; none where there is no row.
    member session.Number(sql: string, [<ParamArray>] values: NpgsqlParameter[]) : int64 voption =
        match session.Rows(sql, List.ofArray values, (fun reader -> reader.GetInt64 0)) with
        | first :: _ -> ValueSome first
        | [] -> ValueNone

    /// Ends the transaction: what it has done is kept then. It has failed if the server warns: that is how it tells that it has
    /// not waited for the servers that are to have the transaction too.
    member session.Commit() : unit =
        session.Settle()
        warning <- None

        if pending.Count > 0 then
            use batch = batchOfPending ()
            unread <- 0
            batch.ExecuteNonQuery() |> ignore

        match transaction with
        | null -> ()
        | joined ->
            transaction <- null
            joined.Commit()
            joined.Dispose()

        match warning with
        | Some text -> raise (NpgsqlException text)
        | None -> ()

    interface IDisposable with
        member _.Dispose() =
            connection.Dispose()
            closed ()
