/// The tables of a journal in PostgreSQL, in a schema of their own.
module K8sReq.Journal.Postgres.PostgresSchema

open System
open Npgsql

/// Of this version. An older one is brought up to it, a newer one is refused.
let version = 1L

/// A later version of this program has made the tables.
exception SchemaTooNew of version: int64

/// The tables are not there, or of an earlier version, and the role may not make them.
exception SchemaMissing of version: int64

// One program at a time makes or changes the tables. Any number that others do not use.
let private lockKey = 0x6b387372L

// A replica's row: a number for each time that a program opens the journal, which is the owner of what that program has accepted
// or adopted, and until when nobody else touches it. Once it is fenced others have begun to adopt, and the program that comes back
// finds that out with its next commit. A copy's state: 0, in the memory of its owner; 1, waiting here alone; 2, as 0, and it was in
// memory before at an end without a word. Suspicion, due and since are those of the embedded journal. `sink_owner`: who sends a
// dead letter to its sink; null where nobody does, or not any more. Times are in milliseconds since 1970, by the server's clock.
// Rows come and go: what is gone is cleared away before it has grown to more than a few MiB, whatever the server's settings.
let private first =
    """
    CREATE TABLE k8sreq.replicas (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, token uuid NOT NULL, expires_at timestamptz NOT NULL,
        fenced boolean NOT NULL DEFAULT false);
    CREATE TABLE k8sreq.clones (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, namespace text NOT NULL, name text NOT NULL,
        UNIQUE (namespace, name));
    CREATE TABLE k8sreq.packs (id bigint PRIMARY KEY, owner bigint NOT NULL, requests bytea NOT NULL);
    ALTER TABLE k8sreq.packs ALTER COLUMN requests SET STORAGE EXTERNAL;
    CREATE INDEX packs_owner ON k8sreq.packs (owner);
    CREATE TABLE k8sreq.packed_ends (request bigint NOT NULL, copy integer NOT NULL, PRIMARY KEY (request, copy));
    CREATE TABLE k8sreq.requests (
        id bigint PRIMARY KEY, received_at bigint NOT NULL, host text NOT NULL, method text NOT NULL,
        fields_end bigint NOT NULL, bytes bigint NOT NULL, wire bytea NOT NULL, request_id uuid NOT NULL);
    ALTER TABLE k8sreq.requests ALTER COLUMN wire SET STORAGE EXTERNAL;
    CREATE TABLE k8sreq.copies (
        request bigint NOT NULL, copy integer NOT NULL, owner bigint NOT NULL, clone bigint NOT NULL, bytes bigint NOT NULL,
        state smallint NOT NULL, attempts bigint NOT NULL DEFAULT 0, due bigint NOT NULL DEFAULT 0,
        suspicion bigint NOT NULL DEFAULT 0, since bigint NOT NULL DEFAULT 0, PRIMARY KEY (request, copy));
    CREATE INDEX copies_waiting ON k8sreq.copies (owner, clone, due, request, copy) WHERE state = 1;
    CREATE INDEX copies_oldest ON k8sreq.copies (owner, clone, request) WHERE state = 1;
    CREATE INDEX copies_held ON k8sreq.copies (owner) WHERE state <> 1;
    CREATE TABLE k8sreq.dead_letters (
        request bigint NOT NULL, copy integer NOT NULL, clone bigint NOT NULL, bytes bigint NOT NULL, cause text NOT NULL,
        outcome text NOT NULL, attempts bigint NOT NULL, target text NOT NULL, ended_at bigint NOT NULL,
        keep_until bigint NOT NULL, code text NOT NULL, sink_owner bigint, PRIMARY KEY (request, copy));
    CREATE INDEX dead_letters_ended ON k8sreq.dead_letters (ended_at, request, copy);
    CREATE INDEX dead_letters_kept ON k8sreq.dead_letters (keep_until);
    CREATE INDEX dead_letters_unsent ON k8sreq.dead_letters (sink_owner, clone, ended_at) WHERE sink_owner IS NOT NULL;
    ALTER TABLE k8sreq.packs SET (
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 10000, toast.autovacuum_vacuum_cost_delay = 0);
    ALTER TABLE k8sreq.requests SET (
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
        toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 10000, toast.autovacuum_vacuum_cost_delay = 0);
    ALTER TABLE k8sreq.copies SET (
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
    """

let private changes = [ first ]

/// What makes the tables of this version, for a role that may do so: the program's own role may do without then.
let sql: string =
    String.Join(
        "\n",
        [
            "BEGIN;"
            "CREATE SCHEMA k8sreq;"
            "CREATE TABLE k8sreq.format (version bigint NOT NULL);"
            yield! changes
            $"INSERT INTO k8sreq.format VALUES ({version});"
            "COMMIT;"
        ]
    )

/// What lets another role use them, after that.
let rights (role: string) : string =
    $"GRANT USAGE ON SCHEMA k8sreq TO \"{role}\";\n"
    + $"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA k8sreq TO \"{role}\";\n"

let private run (connection: NpgsqlConnection) (sql: string) : unit =
    use command = new NpgsqlCommand(sql, connection)
    command.ExecuteNonQuery() |> ignore

// None where there are no tables.
let private found (connection: NpgsqlConnection) : int64 option =
    // Not `to_regclass`: what it remembers of the time before a lock was waited for may be wrong.
    use exists =
        new NpgsqlCommand(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'k8sreq' AND tablename = 'format')",
            connection
        )

    match exists.ExecuteScalar() with
    | :? bool as isThere when isThere ->
        use version =
            new NpgsqlCommand("SELECT max(version) FROM k8sreq.format", connection)

        match version.ExecuteScalar() with
        | :? int64 as version -> Some version
        | _ -> Some 0L
    | _ -> None

let private change (connection: NpgsqlConnection) : unit =
    run connection "BEGIN"
    // Held until the end of the transaction; who comes second finds the tables.
    run connection $"SELECT pg_advisory_xact_lock({lockKey})"

    match found connection with
    | Some found when found >= version -> ()
    | found ->
        if found.IsNone then
            run connection "CREATE SCHEMA IF NOT EXISTS k8sreq"
            run connection "CREATE TABLE k8sreq.format (version bigint NOT NULL)"

        for change in List.skip (int (defaultArg found 0L)) changes do
            run connection change

        run connection "DELETE FROM k8sreq.format"
        run connection $"INSERT INTO k8sreq.format VALUES ({version})"

    run connection "COMMIT"

let private isDenied (error: PostgresException) =
    error.SqlState = PostgresErrorCodes.InsufficientPrivilege

/// What a database has of the tables.
type SchemaState =
    | Missing
    | Version of int64

/// Only looks.
let state (connection: NpgsqlConnection) : SchemaState =
    match found connection with
    | None -> Missing
    | Some version -> Version version

/// Sees to it that the tables are there, of this version. Fails with `SchemaTooNew`, `SchemaMissing` or the server's error.
let prepare (connection: NpgsqlConnection) : unit =
    match found connection with
    | Some found when found = version -> ()
    | Some found when found > version -> raise (SchemaTooNew found)
    | _ ->
        try
            change connection
        with :? PostgresException as error when isDenied error ->
            raise (SchemaMissing version)
