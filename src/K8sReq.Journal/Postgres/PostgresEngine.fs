/// A journal in PostgreSQL, for any number of replicas.
module K8sReq.Journal.Postgres.PostgresEngine

open System
open Npgsql
open K8sReq.Core
open K8sReq.Journal

/// How a journal on a server is used.
[<NoEquality; NoComparison>]
type PostgresOptions = {
    Address: PostgresAddress
    /// See `PostgresConnections`.
    Password: (unit -> string) option
    /// What this replica is called: no two that are alive have the same.
    Name: string
    /// Bytes that copies of this replica may take; dead letters of all have a quarter of it beside them.
    Limit: int64
    Times: ReplicaTimes
}

let private run (connection: NpgsqlConnection) (sql: string) : unit =
    use command = new NpgsqlCommand(sql, connection)
    command.ExecuteNonQuery() |> ignore

// Nothing waits for long, and a commit is on disk when it is told: who has set more (replicas of the server that have it too)
// keeps that.
let private settle (connection: NpgsqlConnection) : unit =
    run
        connection
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
         SET default_transaction_isolation = 'read committed'; SET statement_timeout = '8s'; SET lock_timeout = '3s'; SET idle_in_transaction_session_timeout = '10s'"

/// The engine; `clock`: what the lease is reckoned by.
let create (clock: TimeProvider) (options: PostgresOptions) : JournalEngine =
    let server = PostgresAddress.describe options.Address
    let source = PostgresConnections.create options.Address options.Password
    let lease = SendLease(clock, options.Times.SendLease)
    // This program's number among the replicas, as long as it counts as alive.
    let mutable known: ReplicaId voption = ValueNone
    let setAside = SetAside clock

    let join (session: PostgresSession) (isFirst: bool) : ReplicaId =
        let id =
            match known with
            | ValueSome id when Replicas.Rejoin(session, id, options.Times) -> id
            | _ -> Replicas.Join(session, options.Name, options.Times)

        if isFirst then
            Replicas.FenceNamesake(session, id, options.Name)

        session.Ask(
            "SELECT set_config('application_name', $1, false)",
            Value.text (Replicas.ApplicationName id)
        )

        session.Commit()
        id

    let openOn (connection: NpgsqlConnection) (isFirst: bool) (suspects: Suspects) : IOpenJournal =
        connection.Open()
        settle connection
        PostgresSchema.prepare connection
        // One that is over is kept for nobody, and the next one may be to another server.
        let session = new PostgresSession(connection, source.Clear)
        let asked = clock.GetTimestamp()
        let askedUtc = clock.GetUtcNow()
        let id = join session isFirst
        known <- ValueSome id
        lease.Renew(id.Number, asked, askedUtc)

        new PostgresJournal(session, id, options.Times, lease, clock, options.Limit / 4L, suspects, setAside)

    {
        Open =
            fun isFirst _ suspects ->
                let connection = source.CreateConnection()

                try
                    Ok(openOn connection isFirst suspects)
                with error ->
                    connection.Dispose()
                    source.Clear()
                    Error(PostgresFault.ofError server error)
        FaultOf = PostgresFault.ofError server
        NoRoom = JournalFault.DiskFull server
        Shared =
            ValueSome {
                UpkeepInterval = options.Times.Interval
                Lease = lease
            }
    }
