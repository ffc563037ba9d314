/// Tar archives that are the same bytes whenever and wherever they are made of the same files.
module K8sReq.Build.Archive

open System
open System.Formats.Tar
open System.IO
open System.IO.Compression

/// What is packed.
[<RequireQualifiedAccess>]
type Content =
    | File of path: string
    | Bytes of byte[]
    | Folder

/// One entry; its path has no slash in front.
type Entry = {
    Path: string
    IsExecutable: bool
    Content: Content
}

let private permissions (entry: Entry) =
    let readable =
        UnixFileMode.UserRead
        ||| UnixFileMode.UserWrite
        ||| UnixFileMode.GroupRead
        ||| UnixFileMode.OtherRead

    let executable =
        UnixFileMode.UserExecute
        ||| UnixFileMode.GroupExecute
        ||| UnixFileMode.OtherExecute

    match entry.Content with
    | Content.Folder -> readable ||| executable
    | _ when entry.IsExecutable -> readable ||| executable
    | _ -> readable

// Nothing of whoever packs is written: no user, no time of its own.
let private write (time: DateTimeOffset) (tar: TarWriter) (entry: Entry) =
    let kind =
        match entry.Content with
        | Content.Folder -> TarEntryType.Directory
        | _ -> TarEntryType.RegularFile

    let header =
        UstarTarEntry(kind, entry.Path, ModificationTime = time, Mode = permissions entry, Uid = 0, Gid = 0)

    match entry.Content with
    | Content.Folder -> tar.WriteEntry header
    | Content.Bytes bytes ->
        use stream = new MemoryStream(bytes)
        header.DataStream <- stream
        tar.WriteEntry header
    | Content.File path ->
        use stream = File.OpenRead path
        header.DataStream <- stream
        tar.WriteEntry header

/// Writes a tar of these entries, in the order of their paths.
let writeTar (time: DateTimeOffset) (entries: Entry list) (output: Stream) : unit =
    use tar = new TarWriter(output, TarEntryFormat.Ustar, leaveOpen = true)

    entries
    |> List.sortWith (fun one other -> String.CompareOrdinal(one.Path, other.Path))
    |> List.iter (write time tar)

/// The same, compressed.
let writeTarGz (time: DateTimeOffset) (entries: Entry list) (output: Stream) : unit =
    use gzip = new GZipStream(output, CompressionLevel.SmallestSize, leaveOpen = true)
    writeTar time entries gzip

let file (path: string) (source: string) : Entry = {
    Path = path
    IsExecutable = false
    Content = Content.File source
}

let executable (path: string) (source: string) : Entry = {
    file path source with
        IsExecutable = true
}

let text (path: string) (text: string) : Entry = {
    Path = path
    IsExecutable = false
    Content = Content.Bytes(Text.Encoding.UTF8.GetBytes text)
}

let folder (path: string) : Entry = {
    Path = path.TrimEnd '/' + "/"
    IsExecutable = false
    Content = Content.Folder
}

/// All files below a folder, below this path in the archive.
let filesBelow (path: string) (isExecutable: string -> bool) (source: string) : Entry list = [
    for name in Directory.GetFiles(source, "*", SearchOption.AllDirectories) ->
        let relative = Path.GetRelativePath(source, name).Replace('\\', '/')

        {
            file $"{path}/{relative}" name with
                IsExecutable = isExecutable relative
        }
]
