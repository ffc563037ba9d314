namespace K8sReq.Journal.Sqlite

open System
open SQLitePCL

/// What SQLite answers when it cannot do something: its extended result code (sqlite.org/rescode.html) and its words.
exception SqliteError of code: int * message: string with
    override error.Message =
        match error :> exn with
        | SqliteError(code, message) -> $"{message} (SQLite error {code})"
        | _ -> ""

/// A statement that is prepared once and run many times. For the thread that has the database.
[<Sealed>]
type Statement(database: sqlite3, sql: string) =
    let fail () =
        raise (
            SqliteError(raw.sqlite3_extended_errcode database, raw.sqlite3_errmsg(database).utf8_to_string())
        )

    let handle =
        let mutable made: sqlite3_stmt | null = null

        if raw.sqlite3_prepare_v2 (database, sql, &made) <> raw.SQLITE_OK then
            fail ()

        nonNull made

    let check code =
        if code <> raw.SQLITE_OK then
            fail ()

    member statement.Bind(index: int, value: int64) : Statement =
        check (raw.sqlite3_bind_int64 (handle, index, value))
        statement

    member statement.Bind(index: int, value: string) : Statement =
        check (raw.sqlite3_bind_text (handle, index, value))
        statement

    /// The bytes are copied.
    member statement.Bind(index: int, value: ReadOnlySpan<byte>) : Statement =
        check (raw.sqlite3_bind_blob (handle, index, value))
        statement

    /// Whether there is a row, or one more. After the last one, or a failure, the statement is ready to be run again.
    member _.Step() : bool =
        match raw.sqlite3_step handle with
        | code when code = raw.SQLITE_ROW -> true
        | code when code = raw.SQLITE_DONE ->
            raw.sqlite3_reset handle |> ignore
            false
        | _ ->
            let code = raw.sqlite3_extended_errcode database
            let message = raw.sqlite3_errmsg(database).utf8_to_string()
            raw.sqlite3_reset handle |> ignore
            raise (SqliteError(code, message))

    /// Runs it for its effect.
    member statement.Run() : unit =
        if statement.Step() then
            raw.sqlite3_reset handle |> ignore

    /// The first column of its only row.
    member statement.RunForNumber() : int64 =
        let number =
            if statement.Step() then
                raw.sqlite3_column_int64 (handle, 0)
            else
                0L

        raw.sqlite3_reset handle |> ignore
        number

    /// Ends a run before its last row.
    member _.Reset() : unit = raw.sqlite3_reset handle |> ignore

    member _.Number(column: int) : int64 =
        raw.sqlite3_column_int64 (handle, column)

    member _.Text(column: int) : string =
        raw.sqlite3_column_text(handle, column).utf8_to_string()

    /// Valid until the next step.
    member _.Bytes(column: int) : ReadOnlySpan<byte> =
        raw.sqlite3_column_blob (handle, column)

    interface IDisposable with
        member _.Dispose() = handle.Dispose()

/// A database file, for one thread at a time.
[<Sealed>]
type Database(path: string) =
    static let provider =
        lazy
            (raw.SetProvider(SQLite3Provider_e_sqlite3())
             raw.FreezeProvider()
             // Nobody asks how much memory it has, and counting takes a lock for each piece.
             raw.sqlite3_config (raw.SQLITE_CONFIG_MEMSTATUS, 0) |> ignore)

    do provider.Force()

    let handle =
        let mutable made: sqlite3 | null = null

        let flags =
            raw.SQLITE_OPEN_READWRITE ||| raw.SQLITE_OPEN_CREATE ||| raw.SQLITE_OPEN_NOMUTEX

        let code = raw.sqlite3_open_v2 (path, &made, flags, null)

        match made with
        | null -> raise (SqliteError(code, "out of memory"))
        | made when code <> raw.SQLITE_OK ->
            let message = raw.sqlite3_errmsg(made).utf8_to_string()
            let code = raw.sqlite3_extended_errcode made
            made.Dispose()
            raise (SqliteError(code, message))
        | made -> made

    let statements = ResizeArray<Statement>()

    /// Disposed with the database.
    member _.Prepare(sql: string) : Statement =
        let statement = new Statement(handle, sql)
        statements.Add statement
        statement

    /// Disposed by the caller.
    member _.PrepareOnce(sql: string) : Statement = new Statement(handle, sql)

    /// Runs statements for their effect.
    member _.Execute(sql: string) : unit =
        if raw.sqlite3_exec (handle, sql) <> raw.SQLITE_OK then
            raise (
                SqliteError(raw.sqlite3_extended_errcode handle, raw.sqlite3_errmsg(handle).utf8_to_string())
            )

    /// What a statement gives in the first column of its only row.
    member _.Number(sql: string) : int64 =
        use statement = new Statement(handle, sql)
        statement.RunForNumber()

    /// Whether a transaction has begun and not ended.
    member _.IsInTransaction = raw.sqlite3_get_autocommit handle = 0

    interface IDisposable with
        member _.Dispose() =
            for statement in statements do
                (statement :> IDisposable).Dispose()

            handle.Dispose()
