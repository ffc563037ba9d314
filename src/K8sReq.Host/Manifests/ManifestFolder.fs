namespace K8sReq.Host.Manifests

open System
open System.Collections.Generic
open System.IO
open System.IO.Enumeration
open System.Text
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Kubernetes

/// By what a file is known to have changed, without reading it.
[<Struct>]
type FileStamp = {
    Modified: DateTime
    Length: int64
    /// Where a link leads: a mounted ConfigMap changes by a link being replaced.
    FinalPath: string
}

/// A file of the folder, as of the last scan.
type private KnownFile = {
    /// As it was last seen; it is read once two scans have seen the same.
    Seen: FileStamp option
    /// As it was when it was last read.
    Read: FileStamp option
    /// The last good content.
    Manifests: Manifest list
    /// What is wrong with the last good content, and then with the file as it is now.
    Problems: ManifestProblem list
    ParseProblem: ManifestProblem option
}

/// Reads a folder again and again. A file counts as changed only once two scans in a row have seen the same of it,
/// so that one which is being written is not read half-way, nor one that is being replaced missed. One reader only.
[<Sealed>]
type ManifestFolder(kinds: Kind<obj> list, root: string, ?scanned: unit -> unit) =
    // Far more than any manifest; a file is held in memory several times over while it is read.
    static let largestFile = 64L * 1024L * 1024L

    let mutable files: Map<string, KnownFile> = Map.empty
    // Of folders that could not be listed.
    let mutable folderProblems: ManifestProblem list = []
    let mutable hasScanned = false

    // Names that begin with a dot are skipped, folders included: a mounted ConfigMap keeps its versions in such ones.
    let isHidden (entry: byref<FileSystemEntry>) = entry.FileName.StartsWith '.'

    // The manifests of a folder, and the folders in it. A link to a folder may lead back up.
    let entriesOf (folder: string) : struct (string * bool) list =
        FileSystemEnumerable<struct (string * bool)>(
            folder,
            (fun (entry: byref<FileSystemEntry>) -> struct (entry.ToFullPath(), entry.IsDirectory)),
            EnumerationOptions(IgnoreInaccessible = false, AttributesToSkip = enum<FileAttributes> 0),
            ShouldIncludePredicate =
                (fun (entry: byref<FileSystemEntry>) ->
                    not (isHidden &entry)
                    && (if entry.IsDirectory then
                            not (entry.Attributes.HasFlag FileAttributes.ReparsePoint)
                        else
                            ManifestFile.isManifest (entry.FileName.ToString())))
        )
        |> List.ofSeq

    // Every manifest below a folder, and the folders that could not be listed, with the reason.
    let rec walk (folder: string) : string list * (string * string) list =
        let entries =
            try
                Ok(entriesOf folder)
            with
            | :? IOException
            | :? UnauthorizedAccessException as error -> Error error.Message

        match entries with
        | Error reason -> [], [ folder, reason ]
        | Ok entries ->
            let found = [
                for struct (path, isFolder) in entries do
                    if isFolder then walk path else [ path ], []
            ]

            List.collect fst found, List.collect snd found

    let enumerate () =
        let files, unlisted = walk root
        files |> List.sortWith (fun a b -> String.CompareOrdinal(a, b)), unlisted

    // With every link on the way resolved. As deep as Linux follows them.
    let rec realPath depth (path: string) : string =
        match Path.GetDirectoryName path with
        | null -> path
        | parent ->
            let here = Path.Combine(realPath depth parent, string (Path.GetFileName path))

            match FileInfo(here).LinkTarget with
            | null -> here
            | _ when depth = 0 -> here
            | target -> realPath (depth - 1) (Path.GetFullPath(target, parent))

    let stampOf (path: string) : FileStamp =
        let file =
            match FileInfo(path).LinkTarget with
            | null -> FileInfo path
            | _ -> FileInfo(realPath 40 path)

        {
            Modified = file.LastWriteTimeUtc
            Length = file.Length
            FinalPath = file.FullName
        }

    // None if the file has gone, or cannot be asked.
    let tryStamp path =
        try
            Some(stampOf path)
        with
        | :? IOException
        | :? UnauthorizedAccessException -> None

    let shown (path: string) =
        Path.Combine(root, Path.GetRelativePath(root, path))

    let readFile path (stamp: FileStamp) (known: KnownFile) =
        let withProblem problem = {
            known with
                Seen = Some stamp
                Read = Some stamp
                ParseProblem = Some problem
        }

        try
            // An empty file says nothing. Nor is a pipe or a device opened, which would give its length as 0 and never end.
            let text =
                if stamp.Length = 0L then
                    ""
                elif stamp.Length > largestFile then
                    raise (IOException $"it is larger than {largestFile} bytes")
                else
                    File.ReadAllText(path, UTF8Encoding(false, true))

            if tryStamp path <> Some stamp then
                // It changed while it was read: wait until it is quiet.
                { known with Seen = None }
            else
                match ManifestFile.parse kinds (shown path) text with
                | Ok(manifests, problems) -> {
                    Seen = Some stamp
                    Read = Some stamp
                    Manifests = manifests
                    Problems = problems
                    ParseProblem = None
                  }
                | Error problem -> withProblem problem
        with
        | :? DecoderFallbackException ->
            withProblem (ManifestProblem.Unparsable({ File = shown path; Line = 1 }, "the text is not UTF-8"))
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            withProblem (ManifestProblem.Unreadable(shown path, error.Message))

    let unknown = {
        Seen = None
        Read = None
        Manifests = []
        Problems = []
        ParseProblem = None
    }

    let scanFile path =
        let known = files |> Map.tryFind path |> Option.defaultValue unknown

        match tryStamp path with
        | None -> { known with Seen = None }
        | stamp when stamp = known.Read -> { known with Seen = stamp }
        | Some stamp when known.Seen = Some stamp || not hasScanned -> readFile path stamp known
        | stamp -> { known with Seen = stamp }

    // A file that was there and is not: kept for one more scan, in case it is being replaced.
    // What is in a folder that could not be listed is kept as it is.
    let missing (listed: string list) (unlisted: string list) =
        let isListed = HashSet listed

        let folders =
            unlisted |> List.map (fun folder -> Path.GetFullPath(folder).TrimEnd '/' + "/")

        let isKept (path: string) =
            folders
            |> List.exists (fun folder -> path.StartsWith(folder, StringComparison.Ordinal))

        files
        |> Map.filter (fun path known -> not (isListed.Contains path) && (isKept path || known.Seen.IsSome))
        |> Map.map (fun path known -> if isKept path then known else { known with Seen = None })

    // Putting thousands of objects together again takes its time, and most scans find nothing new.
    let mutable lastFolderProblems: ManifestProblem list = []
    let mutable lastFiles: KnownFile[] = [||]

    let mutable lastContent = FolderContent.empty

    let saysTheSame (before: KnownFile) (now: KnownFile) =
        Object.ReferenceEquals(before.Manifests, now.Manifests)
        && Object.ReferenceEquals(before.Problems, now.Problems)
        && before.ParseProblem = now.ParseProblem

    let content () =
        let all = files |> Map.values |> Array.ofSeq

        let isUnchanged =
            folderProblems = lastFolderProblems
            && all.Length = lastFiles.Length
            && Array.forall2 saysTheSame lastFiles all

        if not isUnchanged then
            let manifests = all |> Seq.collect _.Manifests |> List.ofSeq

            let problems =
                all
                |> Seq.collect (fun file -> file.Problems @ Option.toList file.ParseProblem)
                |> List.ofSeq

            lastContent <- FolderContent.ofManifests manifests (folderProblems @ problems)
            lastFiles <- all
            lastFolderProblems <- folderProblems

        lastContent

    /// Looks at the folder and gives what it says now. The first scan reads every file as it is. A folder that
    /// cannot be listed, the whole or one within, says what it said before.
    member _.Scan() : FolderContent =
        let listed, unlisted = enumerate ()
        let present = listed |> List.map (fun path -> path, scanFile path) |> Map.ofList

        files <-
            (missing listed (List.map fst unlisted), present)
            ||> Map.fold (fun all path file -> Map.add path file all)

        folderProblems <-
            unlisted
            |> List.map (fun (folder, reason) ->
                let shown = if folder = root then root else shown folder
                ManifestProblem.Unreadable(shown, reason))

        if unlisted.IsEmpty then
            scanned |> Option.iter (fun tell -> tell ())

        hasScanned <- true
        content ()

    /// The same as it stands in the files, not yet put together, with what is wrong with them.
    member folder.Read() : Manifest list * ManifestProblem list =
        folder.Scan() |> ignore
        let all = List.ofSeq files.Values

        List.collect _.Manifests all,
        folderProblems
        @ List.collect (fun file -> file.Problems @ Option.toList file.ParseProblem) all

    // Whether the last scan has read all there is.
    member private _.IsSettled =
        folderProblems.IsEmpty
        && files |> Map.forall (fun _ file -> file.Seen.IsSome && file.Seen = file.Read)

    /// Scans every `interval`, less often where a scan takes a good part of that, and hands on what differs from what was
    /// handed on before. Where the system tells of changes, a folder that is quiet is scanned only once in `quietInterval`.
    /// Runs until the token says stop.
    member folder.FollowAsync
        (
            clock: TimeProvider,
            interval: TimeSpan,
            quietInterval: TimeSpan,
            first: FolderContent,
            onChange: FolderContent -> unit,
            stop: CancellationToken
        ) : Task = task {
        let watch = FolderWatch.TryStart root

        let waitForChange (watch: FolderWatch) : Task = task {
            use over = CancellationTokenSource.CreateLinkedTokenSource stop

            let! _ =
                Task.WhenAny(watch.NextChange(), Task.Delay(quietInterval, clock, over.Token))

            over.Cancel()
        }

        try
            let mutable last = first
            let mutable pause = interval

            while not stop.IsCancellationRequested do
                match watch with
                | Some watch when folder.IsSettled -> do! waitForChange watch
                | _ -> ()

                do! Task.Delay(pause, clock, stop)
                let began = clock.GetTimestamp()
                let now = folder.Scan()
                // Thousands of files are asked for one by one: a twentieth of a core is enough for that.
                pause <- max interval (20.0 * clock.GetElapsedTime began)

                if not (Object.ReferenceEquals(now, last)) && now <> last then
                    last <- now
                    onChange now
        finally
            match watch with
            | Some watch -> (watch :> IDisposable).Dispose()
            | None -> ()
    }
