module K8sReq.Bench.Signal

open System.Runtime.InteropServices

[<DllImport("libc", SetLastError = true)>]
extern int private kill(int pid, int signal)

/// Tells a process that this program started to end.
let terminate (pid: int) = kill (pid, 15) |> ignore

/// The same as Ctrl-C: programs that count print what they have.
let interrupt (pid: int) = kill (pid, 2) |> ignore
