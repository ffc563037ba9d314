namespace K8sReq.Host.Manifests

open System
open System.IO
open System.Threading
open System.Threading.Tasks

/// What the system tells of changes in a folder and below it, where it does. It may tell too much, and nothing of what a link
/// leads to elsewhere, of some network file systems, or of a folder that has taken this one's place.
[<Sealed>]
type FolderWatch private (watcher: FileSystemWatcher) =
    let mutable changed =
        TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    let tell () =
        Volatile.Read(&changed).TrySetResult() |> ignore

    member private _.Start() =
        watcher.IncludeSubdirectories <- true
        watcher.Changed.Add(fun _ -> tell ())
        watcher.Created.Add(fun _ -> tell ())
        watcher.Deleted.Add(fun _ -> tell ())
        watcher.Renamed.Add(fun _ -> tell ())
        // More has happened than it can tell of, or it has ended.
        watcher.Error.Add(fun _ -> tell ())
        watcher.EnableRaisingEvents <- true

    /// None where the system does not tell: the folder is not there, or too much is watched already.
    static member TryStart(root: string) : FolderWatch option =
        let mutable watcher: FileSystemWatcher | null = null

        try
            let made = new FileSystemWatcher(root)
            watcher <- made
            let watch = new FolderWatch(made)
            watch.Start()
            Some watch
        with
        | :? IOException
        | :? UnauthorizedAccessException
        | :? ArgumentException
        | :? PlatformNotSupportedException ->
            match watcher with
            | null -> ()
            | made -> made.Dispose()

            None

    /// Completed once something has changed since this was asked for the last time. One asks.
    member _.NextChange() : Task =
        let current = Volatile.Read &changed

        if current.Task.IsCompleted then
            Volatile.Write(&changed, TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously)

        current.Task

    interface IDisposable with
        member _.Dispose() = watcher.Dispose()
