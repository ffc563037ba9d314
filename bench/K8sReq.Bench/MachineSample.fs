namespace K8sReq.Bench

open System
open System.IO

/// How busy the whole machine has been since it started.
type MachineSample = {
    /// CPU time of all processes on all cores, and what the host took from this virtual machine.
    Busy: TimeSpan
}

module MachineSample =
    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, in ticks of 10 ms.
    let parse (stat: string) : MachineSample =
        let fields =
            (stat.Split('\n')[0]).Split(' ', StringSplitOptions.RemoveEmptyEntries)
            |> Array.skip 1
            |> Array.map int64

        {
            Busy =
                TimeSpan.FromMilliseconds(
                    10L * (fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7])
                )
        }

    let read () : MachineSample = parse (File.ReadAllText "/proc/stat")

    /// Runnable processes over one, five and fifteen minutes.
    let loadAverage () : string =
        (File.ReadAllText "/proc/loadavg").Split ' '
        |> Array.take 3
        |> String.concat " "
