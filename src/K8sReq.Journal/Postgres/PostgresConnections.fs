/// Connections to the server of a journal, as its address asks for them.
module K8sReq.Journal.Postgres.PostgresConnections

open System
open System.Threading.Tasks
open Npgsql
open K8sReq.Core

// A commit that takes longer has failed: less than the time in which a replica has to give a sign of life.
let private commandSeconds = 8

let private apply (settings: NpgsqlConnectionStringBuilder) (option: string, value: string) =
    match option with
    | "sslmode" -> settings.SslMode <- Enum.Parse<SslMode>(value.Replace("-", ""), true)
    | "channel_binding" -> settings.ChannelBinding <- Enum.Parse<ChannelBinding>(value, true)
    | "sslrootcert" -> settings.RootCertificate <- value
    | "sslcert" -> settings.SslCertificate <- value
    | "sslkey" -> settings.SslKey <- value
    | "connect_timeout" -> settings.Timeout <- int value
    // A server that takes writes is asked for in every case.
    | _ -> ()

/// `password`: asked for at each connection, where the address has none; None for the library's own ways (PGPASSWORD, PGPASSFILE).
let create (address: PostgresAddress) (password: (unit -> string) option) : NpgsqlDataSource =
    let builder = NpgsqlSlimDataSourceBuilder()
    let settings = builder.ConnectionStringBuilder

    settings.Host <- PostgresAddress.hosts address
    settings.Username <- address.User
    settings.Database <- address.Database
    settings.Timeout <- 5
    settings.CommandTimeout <- commandSeconds
    // None: a commit that is cancelled while it waits for other servers counts as done, and they do not have it. The connection
    // ends instead.
    settings.CancellationTimeout <- -1
    settings.TcpKeepAlive <- true
    settings.MaxPoolSize <- 2
    // What is remembered of a server would keep it out for so long after it is back.
    settings.HostRecheckSeconds <- 0
    settings.MaxAutoPrepare <- 64
    settings.AutoPrepareMinUsages <- 2
    settings.ApplicationName <- "k8sreq"
    List.iter (apply settings) address.Options

    match address.Password, password with
    | Some given, _ -> settings.Password <- Secret.reveal given
    | None, Some read ->
        builder.UsePasswordProvider(
            Func<_, _>(fun _ -> read ()),
            Func<_, _, _>(fun _ _ -> ValueTask<string>(read ()))
        )
        |> ignore
    | None, None -> ()

    builder.EnableArrays().EnableTransportSecurity() |> ignore
    // Also where there is one: a server that has become a replica of another one takes no writes.
    builder.BuildMultiHost().WithTargetSession TargetSessionAttributes.ReadWrite
