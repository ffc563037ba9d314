namespace K8sReq.Journal.Sqlite

open System
open System.Runtime.InteropServices

/// What is new in a folder survives a power cut only once the folder itself is on disk.
module FolderSync =
    // .NET opens no folder: File.OpenHandle answers that access is denied.
    module private Native =
        [<DllImport("libc", EntryPoint = "open")>]
        extern int openRead(string path, int flags)

        [<DllImport("libc")>]
        extern int fsync(int descriptor)

        [<DllImport("libc")>]
        extern int close(int descriptor)

    // Without O_CLOEXEC, whose value differs between systems: it is open for a moment only.
    let private readOnly = 0

    /// Writes a folder's entries to disk. Some file systems cannot: that is no failure, as with SQLite.
    let sync (folder: string) : unit =
        if not (OperatingSystem.IsWindows()) then
            let descriptor = Native.openRead (folder, readOnly)

            if descriptor >= 0 then
                Native.fsync descriptor |> ignore
                Native.close descriptor |> ignore
