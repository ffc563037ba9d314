namespace K8sReq.Journal.Postgres

open System
open K8sReq.Journal

/// How long what takes between replicas.
type ReplicaTimes = {
    /// After so long without a sign of life a replica counts as gone.
    Lease: TimeSpan
    /// A replica that could not give one for so long sends nothing. Shorter than the lease: clocks run unevenly.
    SendLease: TimeSpan
    /// Between two signs of life.
    Interval: TimeSpan
    /// For so long after it has reached the server a replica takes no other for gone: the server may have been away, for all of
    /// them.
    Grace: TimeSpan
}

module ReplicaTimes =
    /// A replica that has gone is found after 18 s at most, or 28 where the server was away too.
    let standard = {
        Lease = TimeSpan.FromSeconds 15.0
        SendLease = TimeSpan.FromSeconds 12.0
        Interval = TimeSpan.FromSeconds 3.0
        Grace = TimeSpan.FromSeconds 10.0
    }

/// A replica's number, and what nobody else knows: after a database has been set back a number may be given again.
[<Struct>]
type ReplicaId = { Number: int64; Token: Guid }

/// The replicas that use the journal, of which `me` is one.
[<Sealed>]
type Replicas(session: PostgresSession, me: ReplicaId, times: ReplicaTimes) =
    // What it leaves: nothing of it may be there when its row goes, or nobody would look for it.
    let nothingIsLeft =
        "NOT EXISTS (SELECT 1 FROM k8sreq.packs WHERE owner = $1) \
         AND NOT EXISTS (SELECT 1 FROM k8sreq.copies WHERE owner = $1 AND state = 1) \
         AND NOT EXISTS (SELECT 1 FROM k8sreq.copies WHERE owner = $1 AND state <> 1) \
         AND NOT EXISTS (SELECT 1 FROM k8sreq.dead_letters WHERE sink_owner = $1)"

    static let expiry = "clock_timestamp() + make_interval(secs => $2)"

    static let seconds (time: TimeSpan) =
        Npgsql.NpgsqlParameter<float>(TypedValue = time.TotalSeconds)

    /// What each replica's connection is called on the server.
    static member ApplicationName(id: ReplicaId) = $"k8sreq-{id.Number}"

    /// Another one, of this name.
    static member Join(session: PostgresSession, name: string, times: ReplicaTimes) : ReplicaId =
        let token = Guid.NewGuid()

        let number =
            session.Number(
                $"INSERT INTO k8sreq.replicas (name, expires_at, token) VALUES ($1, {expiry}, $3) RETURNING id",
                Value.text name,
                seconds times.Lease,
                Value.id token
            )

        {
            Number = ValueOption.get number
            Token = token
        }

    /// One that comes back. False if it counts as gone.
    static member Rejoin(session: PostgresSession, id: ReplicaId, times: ReplicaTimes) : bool =
        session
            .Number(
                $"UPDATE k8sreq.replicas SET expires_at = {expiry} WHERE id = $1 AND token = $3 AND NOT fenced RETURNING id",
                Value.number id.Number,
                seconds times.Lease,
                Value.id id.Token
            )
            .IsSome

    /// What had this name before and has no connection is gone: one address is used by one program at a time.
    static member FenceNamesake(session: PostgresSession, id: ReplicaId, name: string) : unit =
        session.Do(
            "UPDATE k8sreq.replicas r SET fenced = true WHERE r.name = $1 AND r.id <> $2 AND NOT r.fenced AND NOT EXISTS \
             (SELECT 1 FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = 'k8sreq-' || r.id)",
            Value.text name,
            Value.number id.Number
        )

    /// Fails the transaction if others count this replica as gone, and holds them off until its end: who takes over finds
    /// everything that was kept, and nothing comes after.
    member _.Guard() : unit =
        session.Ask(
            "SELECT 1 / count(*) FROM (SELECT 1 FROM k8sreq.replicas WHERE id = $1 AND token = $2 AND NOT fenced FOR SHARE) me",
            Value.number me.Number,
            Value.id me.Token
        )

    /// A sign of life.
    member _.Renew() : unit =
        session.Do(
            $"UPDATE k8sreq.replicas SET expires_at = {expiry} WHERE id = $1",
            Value.number me.Number,
            seconds times.Lease
        )

    /// How many there are, this one among them.
    member _.Count() : int =
        session.Number
            "SELECT count(*) FROM k8sreq.replicas WHERE NOT fenced AND expires_at > clock_timestamp()"
        |> ValueOption.get
        |> int

    /// Those without a sign of life count as gone from now on. One that is in a transaction of its own has a little more time;
    /// then its connection is ended.
    member _.FenceExpired() : unit =
        session.Do(
            "UPDATE k8sreq.replicas SET fenced = true WHERE id IN \
             (SELECT id FROM k8sreq.replicas WHERE NOT fenced AND id <> $1 AND expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED)",
            Value.number me.Number
        )

        session.Ask(
            "SELECT count(pg_terminate_backend(a.pid)) FROM k8sreq.replicas r JOIN pg_stat_activity a \
             ON a.datname = current_database() AND a.application_name = 'k8sreq-' || r.id AND a.usename = current_user \
             WHERE NOT r.fenced AND r.id <> $1 AND r.expires_at < clock_timestamp() - interval '5 seconds'",
            Value.number me.Number
        )

    /// One that has gone and of which something may be left, but none of these, for this replica alone until the end of the
    /// transaction.
    member _.TakeGone(except: int64[]) : int64 voption =
        session.Number(
            "SELECT id FROM k8sreq.replicas WHERE fenced AND NOT id = ANY ($1) ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
            Value.numbers except
        )

    /// Forgets one of which nothing is left.
    member _.Remove(gone: int64) : unit =
        session.Do($"DELETE FROM k8sreq.replicas WHERE id = $1 AND {nothingIsLeft}", Value.number gone)

    /// This one goes: others may have what is left at once.
    member replicas.Leave() : unit =
        replicas.Remove me.Number
        session.Do("UPDATE k8sreq.replicas SET fenced = true WHERE id = $1", Value.number me.Number)
