/// Programs of others that a test asks for its judgement. A test that needs one is skipped where it is not installed.
module K8sReq.TestKit.InstalledTool

open System
open System.Diagnostics
open System.IO
open Expecto

// Where CI puts them, or on the path.
let private find (name: string) =
    let folders =
        Path.Combine(PublishedProgram.Root, "artifacts", "tools")
        :: List.ofArray ((string (Environment.GetEnvironmentVariable "PATH")).Split Path.PathSeparator)

    folders
    |> List.map (fun folder -> Path.Combine(folder, name))
    |> List.tryFind File.Exists

/// The path of this tool; the test that asks is skipped if there is none.
let path (name: string) : string =
    match find name with
    | Some path -> path
    | None -> skiptest $"{name} is not installed"

/// The exit code, what it printed, and what it said on standard error, after it has read this.
let runWith (input: string) (program: string) (arguments: string list) : int * string * string =
    let info =
        ProcessStartInfo(
            program,
            arguments,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    use running =
        match Process.Start info with
        | null -> failwith $"{program} did not start"
        | running -> running

    let errors = running.StandardError.ReadToEndAsync()
    let output = running.StandardOutput.ReadToEndAsync()

    try
        running.StandardInput.Write input
        running.StandardInput.Close()
    with :? IOException ->
        // It has seen enough: its exit code tells.
        ()

    running.WaitForExit()
    running.ExitCode, output.Result, errors.Result

let run = runWith ""

/// Runs it and expects that it succeeds; gives what it printed.
let succeed (program: string) (arguments: string list) : string =
    match run program arguments with
    | 0, output, _ -> output
    | code, output, errors -> failtest $"{program} ended with {code}: {errors}{output}"
