/// helm and kubectl, as programs. Tests that need one are skipped where it is not there.
module K8sReq.Chart.Tests.Tools

open System
open System.Diagnostics
open System.IO
open Expecto
open K8sReq.Host.Tests

let root = PublishedProgram.Root
let chart = Path.Combine(root, "chart", "k8sreq-duplicator-controller")

// Where CI puts them, or on the path.
let private find (name: string) =
    let folders =
        Path.Combine(root, "artifacts", "tools")
        :: List.ofArray ((string (Environment.GetEnvironmentVariable "PATH")).Split Path.PathSeparator)

    folders
    |> List.map (fun folder -> Path.Combine(folder, name))
    |> List.tryFind File.Exists

/// The exit code, what it printed, and what it said on standard error.
let run (program: string) (arguments: string list) : int * string * string =
    let info =
        ProcessStartInfo(program, arguments, RedirectStandardOutput = true, RedirectStandardError = true)

    use running =
        match Process.Start info with
        | null -> failwith $"{program} did not start"
        | running -> running

    let errors = running.StandardError.ReadToEndAsync()
    let output = running.StandardOutput.ReadToEnd()
    running.WaitForExit()
    running.ExitCode, output, errors.Result

let private needing name test () =
    match find name with
    | Some path -> test path
    | None -> skiptest $"{name} is not installed"

/// A test that gets helm's path.
let withHelm name (test: string -> unit) = testCase name (needing "helm" test)

let withKubectl name (test: string -> unit) = testCase name (needing "kubectl" test)

/// Runs it and expects that it succeeds; gives what it printed.
let succeed program arguments =
    match run program arguments with
    | 0, output, _ -> output
    | code, output, errors -> failtest $"{program} ended with {code}: {errors}{output}"
