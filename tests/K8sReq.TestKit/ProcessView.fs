/// What the system says of another process (Linux).
module K8sReq.TestKit.ProcessView

open System
open System.IO

/// Open descriptors, without those of libraries: these are loaded when they are first needed, and stay.
let descriptors (pid: int) : int =
    Directory.GetFileSystemEntries $"/proc/{pid}/fd"
    |> Array.filter (fun descriptor ->
        try
            match File.ResolveLinkTarget(descriptor, false) with
            | null -> true
            | opened -> opened.Extension <> ".dll"
        // Closed meanwhile.
        with :? FileNotFoundException ->
            false)
    |> Array.length

let private memory (field: string) (pid: int) : int64 =
    File.ReadLines $"/proc/{pid}/status"
    |> Seq.pick (fun line ->
        if line.StartsWith(field, StringComparison.Ordinal) then
            Some(1024L * int64 (line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]))
        else
            None)

/// The most memory that it has had at any time, in bytes.
let peakMemory (pid: int) : int64 = memory "VmHWM:" pid

/// The memory that it has now, in bytes.
let residentMemory (pid: int) : int64 = memory "VmRSS:" pid
