namespace K8sReq.Crash

open System
open System.Diagnostics
open System.IO
open System.Threading

module private Shell =
    /// The exit code and what it said on standard error.
    let run (program: string) (arguments: string list) : int * string =
        let info = ProcessStartInfo(program, arguments, RedirectStandardError = true)

        match Process.Start info with
        | null -> -1, "did not start"
        | running ->
            use running = running
            let errors = running.StandardError.ReadToEnd()
            running.WaitForExit()
            running.ExitCode, errors.Trim()

    let succeed (program: string) (arguments: string list) : unit =
        match run program arguments with
        | 0, _ -> ()
        | code, errors -> failwith $"{program} ended with {code}: {errors}"

/// A file system in a file, mounted on a folder.
[<Sealed>]
type Mount(image: string, folder: string) =
    do Directory.CreateDirectory folder |> ignore

    // Nothing reaches the image by itself within a test: the file system commits every 300 s, not every 5.
    do Shell.succeed "mount" [ "-o"; "loop,commit=300"; image; folder ]
    let mutable isMounted = true

    member _.Folder = folder

    interface IDisposable with
        member _.Dispose() =
            let began = Stopwatch.GetTimestamp()

            while isMounted do
                match Shell.run "umount" [ folder ] with
                | 0, _ -> isMounted <- false
                // A process that was killed a moment ago may have it still.
                | _ when Stopwatch.GetElapsedTime began < TimeSpan.FromSeconds 10.0 -> Thread.Sleep 50
                | _, errors -> failwith $"{folder} is still mounted: {errors}"

/// Disks as files.
module DiskImage =
    let private size = 96L * 1024L * 1024L

    /// An empty file system (ext4).
    let create (image: string) : unit =
        do
            use file = File.Create image
            file.SetLength size

        Shell.succeed "mkfs.ext4" [ "-q"; "-F"; image ]

    /// What the image holds now: what a power cut would leave.
    let copy (image: string) (target: string) : unit =
        Shell.succeed "cp" [ "--sparse=always"; image; target ]

    /// Why images cannot be made and mounted here; None if they can.
    let whyNot () : string option =
        if not (OperatingSystem.IsLinux()) then
            Some "needs Linux"
        elif not Environment.IsPrivilegedProcess then
            Some "needs root"
        else
            let folder =
                Path.Combine(Path.GetTempPath(), "k8sreq-crash-" + Guid.NewGuid().ToString "N")

            try
                try
                    Directory.CreateDirectory folder |> ignore
                    let image = Path.Combine(folder, "image")
                    create image
                    (new Mount(image, Path.Combine(folder, "mount")) :> IDisposable).Dispose()
                    None
                with error ->
                    Some $"cannot mount a file: {error.Message}"
            finally
                Directory.Delete(folder, true)
