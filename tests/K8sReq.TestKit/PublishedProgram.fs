namespace K8sReq.TestKit

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Text.RegularExpressions
open System.Threading.Tasks

module private Native =
    [<DllImport("libc", SetLastError = true)>]
    extern int kill(int pid, int signal)

/// The published program as a process.
[<Sealed>]
type PublishedProgram
    private (running: Process, output: ConcurrentQueue<string>, errors: ConcurrentQueue<string>) =
    let mutable isDisposed = false

    static let rec rootFrom (folder: DirectoryInfo) : string =
        if File.Exists(Path.Combine(folder.FullName, "paket.dependencies")) then
            folder.FullName
        else
            match folder.Parent with
            | null -> failwith "The tests do not run below the repository."
            | parent -> rootFrom parent

    /// The repository.
    static member Root = rootFrom (DirectoryInfo AppContext.BaseDirectory)

    /// Where `build.fsx publish` leaves the program, or what `K8SREQ_TEST_PROGRAM` names instead.
    static member Path =
        match Environment.GetEnvironmentVariable "K8SREQ_TEST_PROGRAM" with
        | null
        | "" -> Path.Combine(PublishedProgram.Root, "artifacts", "k8sreq", "k8sreq")
        | path -> path

    /// Starts it with these arguments and only these variables set.
    static member Start(arguments: string list, ?variables: (string * string) list) : PublishedProgram =
        PublishedProgram.Launch(PublishedProgram.Path, arguments, defaultArg variables [])

    /// The same for a program at another path.
    static member StartAt
        (path: string, arguments: string list, variables: (string * string) list)
        : PublishedProgram =
        PublishedProgram.Launch(path, arguments, variables)

    /// Starts it by another program, which gets it and its arguments as its last ones, and becomes it.
    static member StartUnder
        (launcher: string, before: string list, arguments: string list)
        : PublishedProgram =
        PublishedProgram.Launch(
            launcher,
            before @ [ PublishedProgram.Path ] @ arguments,
            [ "PATH", string (Environment.GetEnvironmentVariable "PATH") ]
        )

    static member private Launch(file: string, arguments: string list, variables: (string * string) list) =
        let info =
            ProcessStartInfo(
                file,
                arguments,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false
            )

        info.Environment.Clear()
        // The Services of tests have loopback addresses.
        info.Environment["ALLOW_LOCAL_TARGETS"] <- "true"

        // All tests run on each transport, by this variable.
        match Environment.GetEnvironmentVariable "EVENT_LOOPS" with
        | null -> ()
        | loops -> info.Environment["EVENT_LOOPS"] <- loops

        for name, value in variables do
            info.Environment[name] <- value

        let output, errors = ConcurrentQueue(), ConcurrentQueue()
        let running = new Process(StartInfo = info)
        running.OutputDataReceived.Add(fun line -> Option.ofObj line.Data |> Option.iter output.Enqueue)
        running.ErrorDataReceived.Add(fun line -> Option.ofObj line.Data |> Option.iter errors.Enqueue)
        running.Start() |> ignore
        running.BeginOutputReadLine()
        running.BeginErrorReadLine()
        new PublishedProgram(running, output, errors)

    member _.Id = running.Id

    /// What it has printed.
    member _.Output = String.Join("\n", output)
    /// What it has said on standard error, where its log goes.
    member _.Errors = String.Join("\n", errors)

    /// The exit code, once it has ended and everything it printed has been read.
    member _.ExitCode() : Task<int> =
        task {
            do! running.WaitForExitAsync()
            return running.ExitCode
        }
        |> Waiting.within "the program to end"

    /// Waits until its log or its output matches, and gives the first group.
    member program.Says(pattern: string) : Task<string> = task {
        let find () =
            Regex.Match(program.Errors + "\n" + program.Output, pattern)

        do!
            Waiting.until $"the program to say {pattern}" (fun () ->
                if running.HasExited && not (find().Success) then
                    failwith $"the program ended: {program.Errors}"

                Task.FromResult(find().Success))

        return find().Groups[1].Value
    }

    /// Sends it a signal by its number.
    member _.Signal(number: int) =
        if Native.kill (running.Id, number) <> 0 then
            failwith $"signal {number} could not be sent"

    /// Runs it to its end with these arguments and only these variables set: its exit code, and what it printed to standard output
    /// and to standard error.
    static member Run
        (arguments: string list, variables: (string * string) list)
        : Task<int * string * string> = task {
        use program = PublishedProgram.Start(arguments, variables)
        let! code = program.ExitCode()
        return code, program.Output, program.Errors
    }

    /// Tells it to end.
    member program.Terminate() = program.Signal 15

    /// Ends it without a word (SIGKILL).
    member _.Kill() = running.Kill()

    member _.HasExited = running.HasExited

    interface IDisposable with
        member _.Dispose() =
            if not isDisposed then
                isDisposed <- true

                if not running.HasExited then
                    running.Kill()

                running.Dispose()
