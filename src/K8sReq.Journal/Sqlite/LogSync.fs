namespace K8sReq.Journal.Sqlite

open System
open System.ComponentModel
open System.IO
open System.Runtime.InteropServices

module private Native =
    [<Literal>]
    let interrupted = 4

    [<DllImport("libc", SetLastError = true)>]
    extern int fdatasync(int descriptor)

/// Writes the log of an open database to disk, after a commit. SQLite would do so itself (`synchronous = FULL`), but as it is
/// built here with `fsync`, which also writes when the file was last changed: another place on the disk, with each commit.
[<Sealed>]
type LogSync(log: string) =
    let handle =
        File.OpenHandle(log, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite)

    let rec sync () =
        if Native.fdatasync (int (handle.DangerousGetHandle())) <> 0 then
            match Marshal.GetLastPInvokeError() with
            | Native.interrupted -> sync ()
            | code -> raise (IOException($"its log cannot be synced ({Win32Exception(code).Message})"))

    /// All that was written to it before is on disk then. Fails with an IOException; then nobody knows what of it is, and a later
    /// sync says nothing of it.
    member _.Sync() : unit =
        if OperatingSystem.IsLinux() then
            sync ()
        else
            RandomAccess.FlushToDisk handle

    interface IDisposable with
        member _.Dispose() = handle.Dispose()
