/// What keeps a journal, as the settings say.
module K8sReq.Host.Commands.JournalEngines

open System
open System.IO
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Journal.Postgres
open K8sReq.Journal.Sqlite

/// The password in a file: ends of lines are an editor's.
let readPassword (file: string) () : string =
    File.ReadAllText(file).TrimEnd('\r', '\n')

/// What keeps the journal of these settings. `name`: of this replica, where several use it.
let create (clock: TimeProvider) (name: string) (settings: JournalSettings) : JournalEngine =
    match settings.KeptIn with
    | JournalPlace.Folder folder -> SqliteEngine.create folder settings.Limit
    | JournalPlace.Postgres address ->
        PostgresEngine.create clock {
            Address = address
            Password = settings.PasswordFile |> Option.map readPassword
            Name = name
            Limit = settings.Limit
            Times = ReplicaTimes.standard
        }
