/// Standard streams that were closed when the program was started. The runtime's own files take their numbers then, and what
/// is written to a stream would go to one of those: a line of log to the pipe by which the runtime hears of signals ends the
/// process.
module K8sReq.Host.StandardStreams

open System
open System.IO

// Of a file that is closed where a program becomes another one (`O_CLOEXEC`). The runtime opens all of its files so; a stream
// that came with the start cannot be one of them.
let private closedOnExec = 0o2000000

let private flagsOf (text: string) =
    text.Split '\n'
    |> Array.tryFind (fun line -> line.StartsWith("flags:", StringComparison.Ordinal))
    |> Option.map (fun line -> Convert.ToInt32(line.Substring("flags:".Length).Trim(), 8))

/// Whether the stream of this number (0 to 2) is there from the start. True where the system does not say.
let private isGiven (number: int) =
    not (Directory.Exists "/proc/self/fdinfo")
    || (try
            match flagsOf (File.ReadAllText $"/proc/self/fdinfo/{number}") with
            | Some flags -> flags &&& closedOnExec = 0
            | None -> true
        with :? IOException ->
            false)

/// Before anything is read or written: what is written to a stream that is not there is forgotten, and standard input that
/// is not there is empty.
let secure () : unit =
    if not (isGiven 0) then
        Console.SetIn TextReader.Null

    if not (isGiven 1) then
        Console.SetOut TextWriter.Null

    if not (isGiven 2) then
        Console.SetError TextWriter.Null

    // Numbers that are free go to nobody who could be written to by mistake.
    if OperatingSystem.IsLinux() then
        let mutable isTaken = false

        while not isTaken do
            let handle =
                File.OpenHandle("/dev/null", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite)

            if handle.DangerousGetHandle() > 2n then
                handle.Dispose()
                isTaken <- true
            else
                // Stays open to the end of the process, even if the stream is collected.
                let mutable isHeld = false
                handle.DangerousAddRef &isHeld

/// Standard input, empty where it was closed at the start.
let openInput () : Stream =
    if isGiven 0 then
        Console.OpenStandardInput()
    else
        Stream.Null
