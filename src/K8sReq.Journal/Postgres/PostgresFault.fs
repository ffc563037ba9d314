namespace K8sReq.Journal.Postgres

open System
open System.IO
open Npgsql
open K8sReq.Journal

module PostgresFault =
    // What says most is inside: the library's own message names what it was doing.
    let rec private reasonOf (error: exn) : string =
        match error with
        | :? PostgresException as error -> $"{error.MessageText} ({error.SqlState})"
        | :? AggregateException as error when error.InnerExceptions.Count > 0 ->
            reasonOf error.InnerExceptions[0]
        | error ->
            match error.InnerException with
            | null -> error.Message
            | inner -> reasonOf inner

    let rec private stateOf (error: exn) : string option =
        match error with
        | :? PostgresException as error -> Some error.SqlState
        | :? AggregateException as error -> error.InnerExceptions |> Seq.tryPick stateOf
        | error ->
            match error.InnerException with
            | null -> None
            | inner -> stateOf inner

    /// Whether it is the guard's: see `Replicas.Guard`.
    let isGone (error: exn) : bool =
        stateOf error = Some PostgresErrorCodes.DivisionByZero

    /// What an error means for the journal on this server.
    let ofError (server: string) (error: exn) : JournalFault =
        match error with
        | error when isGone error -> JournalFault.TakenOver server
        | PostgresSchema.SchemaTooNew found -> JournalFault.TablesTooNew(server, found)
        | PostgresSchema.SchemaMissing version -> JournalFault.NoTables(server, version)
        | :? InvalidDataException as error -> JournalFault.Corrupt(server, error.Message)
        | error ->
            match stateOf error with
            | Some PostgresErrorCodes.DiskFull -> JournalFault.DiskFull server
            | Some("28P01" | "28000" | "42501" | "3D000") -> JournalFault.Denied(server, reasonOf error)
            | _ -> JournalFault.Away(server, reasonOf error)
