namespace K8sReq.Journal.Sqlite

open System
open System.IO
open SQLitePCL
open K8sReq.Journal

exception private JournalTooNew of version: int64

/// The journal's database: its file, its format, and how it is opened.
module JournalFile =
    /// Of this version. An older one is brought up to it, a newer one is refused.
    let version = 3L

    let pathIn (folder: string) : string = Path.Combine(folder, "k8sreq.db")

    // What each version added to the one before; a file is brought up by those that it lacks.
    //
    // A copy's state: 0, in the memory of the program that has the journal open; 1, waiting in the file until its queue has
    // room or its next attempt is due; 2, as 0, and it was in memory too when a program ended without telling. Suspicion: 0,
    // never in memory at such an end; 1, once; more, once more for each such end that it met in state 2. `since`: when it was
    // replayed, 0 if it was not. A dead letter's sink: 1, to be sent there; 0, not, or not any more. A pack has requests whose
    // copies are in memory, all but those in `packed_ends`, which have ended. Times are in milliseconds since 1970.
    let private first =
        """
        CREATE TABLE clones (
            id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (namespace, name));
        CREATE TABLE requests (
            id INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, host TEXT NOT NULL, method TEXT NOT NULL,
            fields_end INTEGER NOT NULL, bytes INTEGER NOT NULL, wire BLOB NOT NULL);
        CREATE TABLE copies (
            request INTEGER NOT NULL, copy INTEGER NOT NULL, clone INTEGER NOT NULL, bytes INTEGER NOT NULL,
            state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,
            PRIMARY KEY (request, copy)) WITHOUT ROWID;
        CREATE INDEX copies_waiting ON copies (clone, due) WHERE state = 1;
        PRAGMA user_version = 1;
        """

    let private second =
        """
        ALTER TABLE requests ADD COLUMN request_id BLOB;
        ALTER TABLE copies ADD COLUMN suspicion INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE copies ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX copies_oldest ON copies (clone, request) WHERE state = 1;
        CREATE TABLE dead_letters (
            request INTEGER NOT NULL, copy INTEGER NOT NULL, clone INTEGER NOT NULL, bytes INTEGER NOT NULL,
            cause TEXT NOT NULL, outcome TEXT NOT NULL, attempts INTEGER NOT NULL, target TEXT NOT NULL,
            ended_at INTEGER NOT NULL, keep_until INTEGER NOT NULL, code TEXT NOT NULL, sink INTEGER NOT NULL,
            PRIMARY KEY (request, copy)) WITHOUT ROWID;
        CREATE INDEX dead_letters_ended ON dead_letters (ended_at);
        CREATE INDEX dead_letters_kept ON dead_letters (keep_until);
        CREATE INDEX dead_letters_unsent ON dead_letters (clone, ended_at) WHERE sink = 1;
        CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        PRAGMA user_version = 2;
        """

    let private third =
        """
        CREATE TABLE packs (id INTEGER PRIMARY KEY, requests BLOB NOT NULL);
        CREATE TABLE packed_ends (request INTEGER NOT NULL, copy INTEGER NOT NULL, PRIMARY KEY (request, copy)) WITHOUT ROWID;
        PRAGMA user_version = 3;
        """

    let private changes = [ first; second; third ]

    // Every commit is synced (later by `LogSync`), and the file belongs to this program alone. The log is written back, and cut
    // to its limit, after so many pages. A page of 8 KiB holds a small request in one piece.
    let private settings = [
        "PRAGMA page_size = 8192"
        "PRAGMA journal_mode = WAL"
        "PRAGMA synchronous = FULL"
        "PRAGMA wal_autocheckpoint = 1000"
        "PRAGMA journal_size_limit = 16777216"
        // A container's file system is read-only but for the volume: there is no folder for temporary files. At the start they
        // are some 60 bytes for each copy that waits.
        "PRAGMA temp_store = MEMORY"
        "PRAGMA cache_size = -2048"
    ]

    /// The write-ahead log of a database file.
    let logOf (file: string) : string = file + "-wal"

    let private inspect (log: string) : DamagedLog option =
        WalInspection.inspect log
        |> Option.map (fun damage -> {
            Damage = damage
            Copy = WalInspection.keep log
        })

    let private prepare (isFirst: bool) (tell: DamagedLog -> unit) (file: string) (database: Database) =
        database.Execute "PRAGMA locking_mode = EXCLUSIVE"
        let found = database.Number "PRAGMA user_version"

        // Before anything is set: a later version's file stays as it is.
        if found > version then
            raise (JournalTooNew found)

        // Nobody else has the file from here on, and the log is as it was found: it is cut below.
        if isFirst then
            inspect (logOf file) |> Option.iter tell

        for setting in settings do
            database.Execute setting

        // What is in the log may be in the system's memory alone: a sync that has failed leaves pages that count as written, and
        // no later sync writes them. Everything that follows in the log would be lost with them, so they are written again, into
        // the file.
        try
            database.Execute "PRAGMA wal_checkpoint(TRUNCATE)"
        with SqliteError(code, _) when code &&& 0xff = raw.SQLITE_FULL ->
            // No worse than before; what makes room needs the journal open.
            ()

        // Takes the lock, and keeps it.
        database.Execute "BEGIN EXCLUSIVE"

        for change in List.skip (int found) changes do
            database.Execute change

        database.Execute "COMMIT"

        // What was in the memory of the last program is in no memory now.
        if isFirst then
            PackRows(database, RequestRows database).UnpackAll()

            database.Execute
                "UPDATE copies SET suspicion = CASE state WHEN 2 THEN suspicion + 1 ELSE max(suspicion, 1) END, state = 1, due = 0 \
                 WHERE state <> 1"

    // Creates what is missing of it. Each new folder's entry is in the folder above.
    let rec private createFolder (folder: string) =
        if not (Directory.Exists folder) then
            match Path.GetDirectoryName folder with
            | null
            | "" -> Directory.CreateDirectory folder |> ignore
            | parent ->
                createFolder parent
                Directory.CreateDirectory folder |> ignore
                FolderSync.sync parent

    /// Opens the journal of a folder, which is created if it is not there. `isFirst`: for the first time in this process, so that
    /// no copy of it is in memory. Then `tell` gets what is wrong with its log, even if it cannot be opened after all: the next
    /// attempt finds nothing of it.
    let openIn (isFirst: bool) (tell: DamagedLog -> unit) (folder: string) : Result<Database, JournalFault> =
        let file = pathIn folder
        let mutable opened: Database option = None

        try
            createFolder (Path.GetFullPath folder |> Path.TrimEndingDirectorySeparator)
            let database = new Database(file)
            opened <- Some database
            prepare isFirst tell file database
            FolderSync.sync folder
            Ok database
        with error ->
            opened |> Option.iter (fun database -> (database :> IDisposable).Dispose())

            match error with
            | JournalTooNew found -> Error(JournalFault.TooNew(file, found))
            | error -> Error(SqliteFault.ofError file error)
