namespace K8sReq.TestKit

open System
open System.Diagnostics
open System.IO
open System.Net.Sockets
open System.Threading
open Npgsql

/// A PostgreSQL server of its own, in a temporary folder and on a free port, with Debian's programs. It ends with this process,
/// however that ends.
[<Sealed>]
type PostgresServer private (binaries: string) =
    let folder = new TestFolder()
    let data = folder.At "data"
    let mutable password = "p@ss/word:" + Guid.NewGuid().ToString "N"

    let port = HeldPort.take ()

    let isRoot = Environment.UserName = "root"
    let mutable databases = 0
    let mutable running: Process | null = null

    // The server refuses to run as root.
    let asUser (program: string) (arguments: string list) : ProcessStartInfo =
        let program = Path.Combine(binaries, program)

        let file, arguments =
            if isRoot then
                "setpriv",
                [ "--reuid=postgres"; "--regid=postgres"; "--clear-groups"; program ]
                @ arguments
            else
                program, arguments

        let start = ProcessStartInfo(file, arguments)
        start.RedirectStandardOutput <- true
        start.RedirectStandardError <- true
        start.WorkingDirectory <- folder.Path
        start

    let run (start: ProcessStartInfo) =
        use running = nonNull (Process.Start start)
        let output = running.StandardOutput.ReadToEndAsync()
        let errors = running.StandardError.ReadToEndAsync()
        running.WaitForExit()

        if running.ExitCode <> 0 then
            failwith $"{start.FileName}: {output.Result} {errors.Result}"

    let execute (database: string) (sql: string) =
        use connection =
            new NpgsqlConnection(
                $"Host=127.0.0.1;Port={port};Username=postgres;Database={database};Pooling=false;Timeout=3"
            )

        connection.ConnectionString <- connection.ConnectionString + $";Password='{password}'"
        connection.Open()
        use command = new NpgsqlCommand(sql, connection)
        command.ExecuteScalar()

    let rec waitUntilReady (attempts: int) =
        let isReady =
            try
                execute "postgres" "SELECT 1" |> ignore
                true
            with
            | :? NpgsqlException
            | :? SocketException -> false

        if not isReady then
            if attempts = 0 then
                failwith "PostgreSQL does not start"

            Thread.Sleep 50
            waitUntilReady (attempts - 1)

    let create () =
        File.WriteAllText(folder.At "password", password)

        if isRoot then
            run (
                ProcessStartInfo(
                    "chown",
                    [ "-R"; "postgres"; folder.Path ],
                    RedirectStandardOutput = true,
                    RedirectStandardError = true
                )
            )

        run (
            asUser "initdb" [
                "--pgdata"
                data
                "--username=postgres"
                "--auth=scram-sha-256"
                "--pwfile=" + folder.At "password"
                "--no-sync"
                "--encoding=UTF8"
                "--locale=C"
            ]
        )

    static let found: Lazy<string option> =
        lazy
            (if Directory.Exists "/usr/lib/postgresql" then
                 Directory.GetDirectories "/usr/lib/postgresql"
                 |> Array.map (fun version -> Path.Combine(version, "bin"))
                 |> Array.filter (fun bin -> File.Exists(Path.Combine(bin, "postgres")))
                 |> Array.tryLast
             else
                 None)

    static let shared: Lazy<PostgresServer option> =
        lazy
            (found.Value
             |> Option.map (fun binaries ->
                 let server = new PostgresServer(binaries)
                 AppDomain.CurrentDomain.ProcessExit.Add(fun _ -> (server :> IDisposable).Dispose())
                 server.Create()
                 server))

    /// Why a test without a server is skipped.
    static member Missing = "PostgreSQL is not installed (Debian: postgresql)"

    static member IsInstalled = found.Value.IsSome

    /// One for all tests of this process; None where it is not installed.
    static member Shared: PostgresServer option = shared.Value

    /// One that a test may stop and break. Only where it is installed.
    static member New() : PostgresServer =
        let server = new PostgresServer(found.Value.Value)
        server.Create()
        server

    member private server.Create() =
        create ()
        server.Start()

    member private server.CopyFrom(primary: PostgresServer) =
        let start =
            asUser "pg_basebackup" [
                "--host=127.0.0.1"
                $"--port={primary.Port}"
                "--username=postgres"
                $"--pgdata={data}"
                "--write-recovery-conf"
                "--checkpoint=fast"
                "--no-sync"
            ]

        start.Environment["PGPASSWORD"] <- primary.Password

        if isRoot then
            run (
                ProcessStartInfo(
                    "chown",
                    [ "postgres"; folder.Path ],
                    RedirectStandardOutput = true,
                    RedirectStandardError = true
                )
            )

        run start
        password <- primary.Password
        server.Start()

    member private _.Password: string = password

    /// Another one that follows this one, and takes no writes until it is promoted.
    member server.NewStandby() : PostgresServer =
        let standby = new PostgresServer(binaries)
        standby.CopyFrom server
        standby

    /// Makes it the one that takes writes.
    member server.Promote() : unit =
        server.Ask("postgres", "SELECT pg_promote()") |> ignore

    member _.Port = port

    /// Of the server's own process.
    member _.ProcessId: int =
        File.ReadLines(Path.Combine(data, "postmaster.pid")) |> Seq.head |> int

    /// Starts it, and waits until it answers.
    member _.Start() : unit =
        let options = [
            "-D"
            data
            "-p"
            string<int> port
            "-c"
            "listen_addresses=127.0.0.1"
            "-c"
            "unix_socket_directories="
            "-c"
            "max_connections=50"
            "-c"
            "log_min_messages=fatal"
        ]

        let quoted = asUser "postgres" options

        let command =
            quoted.FileName :: List.ofSeq quoted.ArgumentList
            |> List.map (fun word -> $"'{word}'")
            |> String.concat " "

        // This process holds the other end of its input: when that goes, the server does.
        let start =
            ProcessStartInfo(
                "sh",
                [
                    "-c"
                    $"{command} >log 2>&1 <&- & server=$!; read line; kill -INT $server; wait $server"
                ]
            )

        start.RedirectStandardInput <- true
        start.WorkingDirectory <- folder.Path
        running <- Process.Start start
        waitUntilReady 200

    /// To all of its processes: "STOP" and "CONT".
    member server.Signal(signal: string) : unit =
        let id = string<int> server.ProcessId

        run (
            ProcessStartInfo(
                "sh",
                [ "-c"; $"kill -{signal} {id} $(cat /proc/{id}/task/{id}/children)" ],
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )
        )

    /// Ends it: "TERM" waits for clients, "INT" ends them, "QUIT" as after a crash, "KILL" without a word.
    member server.Stop(signal: string) : unit =
        match running with
        | null -> ()
        | shell ->
            let id = server.ProcessId

            run (
                ProcessStartInfo(
                    "kill",
                    [ $"-{signal}"; string<int> id ],
                    RedirectStandardOutput = true,
                    RedirectStandardError = true
                )
            )

            shell.StandardInput.Close()
            shell.WaitForExit()
            shell.Dispose()
            running <- null

    /// Lets clients use TLS, with this certificate and its key (PEM).
    member server.UseTls(certificate: string, key: string) : unit =
        for name, text in [ "server.crt", certificate; "server.key", key ] do
            let file = Path.Combine(data, name)
            File.WriteAllText(file, text)
            File.SetUnixFileMode(file, UnixFileMode.UserRead ||| UnixFileMode.UserWrite)

            if isRoot then
                run (
                    ProcessStartInfo(
                        "chown",
                        [ "postgres"; file ],
                        RedirectStandardOutput = true,
                        RedirectStandardError = true
                    )
                )

        server.Ask("postgres", "ALTER SYSTEM SET ssl = on") |> ignore
        server.Ask("postgres", "SELECT pg_reload_conf()") |> ignore

    /// The one value that it gives.
    member _.Ask(database: string, sql: string) : obj | null = execute database sql

    /// An empty database.
    member _.NewDatabase() : string =
        let name = $"test{Interlocked.Increment &databases}"
        execute "postgres" $"CREATE DATABASE {name}" |> ignore
        name

    /// Of a database, as users write it.
    member _.UriOf(database: string) : string =
        $"postgres://postgres:{Uri.EscapeDataString password}@127.0.0.1:{port}/{database}?sslmode=disable"

    interface IDisposable with
        member server.Dispose() =
            try
                server.Stop "INT"
            finally
                (folder :> IDisposable).Dispose()
