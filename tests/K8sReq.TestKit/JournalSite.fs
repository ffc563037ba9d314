namespace K8sReq.TestKit

open System
open System.IO
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Journal.Postgres
open K8sReq.Journal.Sqlite

/// Where a journal is, and what a test does to it from outside.
[<AbstractClass>]
type JournalSite() =
    /// What a program uses it with, for so many bytes.
    abstract Engine: clock: TimeProvider * limit: int64 -> JournalEngine

    /// As a crash of all programs that use it now would leave it, for another one.
    abstract Crash: unit -> JournalSite

    /// Whether a program that was just opened has all that others have left.
    abstract IsSettled: bool

    /// The rows of a table. Where the journal is a file, it must be closed.
    abstract Count: table: string -> int64

/// A folder; copies of it are beside it.
[<Sealed>]
type FolderSite(folder: string) =
    inherit JournalSite()
    let mutable crashes = 0

    member _.Folder = folder

    override _.Engine(_, limit) = SqliteEngine.create folder limit

    override _.Crash() =
        crashes <- crashes + 1
        let image = $"{folder}-{crashes}"
        Directory.CreateDirectory image |> ignore

        for file in Directory.GetFiles folder do
            File.Copy(file, Path.Combine(image, string (Path.GetFileName file)))

        FolderSite image

    override _.IsSettled = true

    override _.Count table =
        use database = new Database(JournalFile.pathIn folder)
        database.Number $"SELECT count(*) FROM {table}"

/// A database of a server. Every engine is a replica, which looks after the others when it is opened, and no more unless
/// `times` say so.
[<Sealed>]
type PostgresSite(server: PostgresServer, database: string, times: ReplicaTimes) =
    inherit JournalSite()

    let mutable replicas = 0

    static member Times = {
        ReplicaTimes.standard with
            Interval = TimeSpan.FromHours 1.0
            Grace = TimeSpan.Zero
    }

    new(server: PostgresServer) = PostgresSite(server, server.NewDatabase(), PostgresSite.Times)

    member _.Server = server
    member _.Database = database

    member _.Ask(sql: string) : obj | null = server.Ask(database, sql)

    member _.Options(limit: int64) : PostgresEngine.PostgresOptions =
        replicas <- replicas + 1

        {
            Address =
                match PostgresAddress.tryParse (server.UriOf database) with
                | Some address -> address
                | None -> failwith "no address"
            Password = None
            Name = $"replica-{replicas}"
            Limit = limit
            Times = times
        }

    override site.Engine(clock, limit) =
        PostgresEngine.create clock (site.Options limit)

    override site.Crash() =
        site.Ask "UPDATE k8sreq.replicas SET fenced = true" |> ignore
        site

    override site.IsSettled =
        match site.Ask "SELECT NOT EXISTS (SELECT 1 FROM k8sreq.replicas WHERE fenced)" with
        | :? bool as isSettled -> isSettled
        | _ -> false

    override site.Count table =
        match site.Ask $"SELECT count(*) FROM k8sreq.{table}" with
        | :? int64 as rows -> rows
        | other -> failwith $"{other}"
