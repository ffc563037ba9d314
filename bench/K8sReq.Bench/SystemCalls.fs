/// Counts the system calls of another process: by perf, or by strace, which slows the process down.
module K8sReq.Bench.SystemCalls

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks

/// The count in what `perf stat -x,` prints.
let parsePerf (text: string) : int64 option =
    text.Split '\n'
    |> Array.tryPick (fun line ->
        match line.Split ',' with
        | [||]
        | [| _ |] -> None
        | fields when fields |> Array.contains "raw_syscalls:sys_enter" ->
            match Int64.TryParse fields[0] with
            | true, count -> Some count
            | false, _ -> None
        | _ -> None)

/// The count in the summary that `strace -c` prints: share, seconds, each, calls, errors (often empty), name.
let parseStrace (text: string) : int64 option =
    text.Split '\n'
    |> Array.tryPick (fun line ->
        match line.Split(' ', StringSplitOptions.RemoveEmptyEntries) with
        | fields when fields.Length >= 5 && Array.last fields = "total" ->
            match Int64.TryParse fields[3] with
            | true, count -> Some count
            | false, _ -> None
        | _ -> None)

let private isThere (command: string) =
    (string (Environment.GetEnvironmentVariable "PATH")).Split ':'
    |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, command)))

/// A program that counts system calls.
type Counter = private {
    Command: string
    Arguments: int -> string list
    Parse: string -> int64 option
}

let private counters = [
    {
        Command = "perf"
        Arguments = fun pid -> [ "stat"; "-x,"; "-e"; "raw_syscalls:sys_enter"; "-p"; string pid ]
        Parse = parsePerf
    }
    {
        Command = "strace"
        Arguments = fun pid -> [ "-c"; "-f"; "-p"; string pid ]
        Parse = parseStrace
    }
]

/// The system calls of a process during this load, if the counter has counted any, and the load's result.
let count (counter: Counter) (pid: int) (load: unit -> Task<'result>) : Task<int64 option * 'result> = task {
    let info =
        ProcessStartInfo(
            counter.Command,
            counter.Arguments pid,
            RedirectStandardError = true,
            RedirectStandardOutput = true
        )

    use running = Process.Start info |> nonNull
    let printed = running.StandardError.ReadToEndAsync()
    // Until it is attached to every thread.
    do! Task.Delay 1000
    let! result = load ()

    if not running.HasExited then
        Signal.interrupt running.Id

    do! running.WaitForExitAsync()
    let! text = printed
    return counter.Parse text, result
}

/// The first counter that works on this machine, tried on this process.
let tryFind () : Task<Counter option> =
    let rec first (candidates: Counter list) : Task<Counter option> = task {
        match candidates with
        | [] -> return None
        | candidate :: others when isThere candidate.Command ->
            match! count candidate Environment.ProcessId (fun () -> Task.FromResult()) with
            | Some _, () -> return Some candidate
            | None, () -> return! first others
        | _ :: others -> return! first others
    }

    first counters
