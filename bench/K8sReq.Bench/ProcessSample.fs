namespace K8sReq.Bench

open System
open System.IO

/// A thread at one moment.
[<Struct>]
type ThreadSample = {
    /// CPU time, in nanoseconds.
    Cpu: int64
    /// Context switches: when it waited, and when it was interrupted.
    Switches: int64
}

/// What Linux tells of a process at one moment.
type ProcessSample = {
    Threads: Map<int, ThreadSample>
    /// Clock ticks in user mode and in the kernel, of all threads, those that have ended included.
    UserTicks: int64
    SystemTicks: int64
    /// Resident memory in bytes.
    Memory: int64
}

module ProcessSample =
    let private words (text: string) =
        text.Split([| ' '; '\t'; '\n' |], StringSplitOptions.RemoveEmptyEntries)

    /// User and system ticks in `/proc/PID/stat`. The name in parentheses may contain anything, spaces and parentheses too.
    let parseStat (text: string) : struct (int64 * int64) =
        let fields = words (text.Substring(text.LastIndexOf ')' + 1))
        struct (int64 fields[11], int64 fields[12])

    /// The CPU time in nanoseconds in `/proc/PID/task/TID/schedstat`.
    let parseSchedStat (text: string) : int64 = int64 (Array.head (words text))

    let private sumOf (isMeant: string -> bool) (status: string) =
        status.Split '\n'
        |> Array.filter isMeant
        |> Array.sumBy (fun line -> int64 (Array.item 1 (words line)))

    /// Voluntary and other context switches in `/proc/PID/task/TID/status`.
    let parseSwitches (status: string) : int64 =
        status
        |> sumOf (fun line ->
            line.StartsWith("voluntary_ctxt_switches:", StringComparison.Ordinal)
            || line.StartsWith("nonvoluntary_ctxt_switches:", StringComparison.Ordinal))

    /// Resident memory in bytes in `/proc/PID/status`.
    let parseMemory (status: string) : int64 =
        1024L
        * (status
           |> sumOf (fun line -> line.StartsWith("VmRSS:", StringComparison.Ordinal)))

    let private threads (pid: int) =
        Map [
            for folder in Directory.GetDirectories $"/proc/{pid}/task" do
                try
                    let read name =
                        File.ReadAllText(Path.Combine(folder, name))

                    int (Path.GetFileName folder),
                    {
                        Cpu = parseSchedStat (read "schedstat")
                        Switches = parseSwitches (read "status")
                    }
                // It has ended since the folder was listed.
                with
                | :? FileNotFoundException
                | :? DirectoryNotFoundException
                | :? IOException -> ()
        ]

    let read (pid: int) : ProcessSample =
        let struct (user, system) = parseStat (File.ReadAllText $"/proc/{pid}/stat")

        {
            Threads = threads pid
            UserTicks = user
            SystemTicks = system
            Memory = parseMemory (File.ReadAllText $"/proc/{pid}/status")
        }

/// What a process has used between two moments.
type ProcessUse = {
    Cpu: TimeSpan
    /// The part of it in user mode, from 0 to 1.
    UserShare: float
    Switches: int64
}

module ProcessUse =
    // USER_HZ: 100 a second on every architecture that .NET runs on.
    let private tick = TimeSpan.FromMilliseconds 10L

    /// Threads know their time to the nanosecond, the process knows the two parts of it by ticks of 10 ms. A thread that
    /// has ended takes its figures with it: then ticks have to do.
    let between (before: ProcessSample) (after: ProcessSample) : ProcessUse =
        let used (choose: ThreadSample -> int64) =
            after.Threads
            |> Map.toSeq
            |> Seq.sumBy (fun (id, thread) ->
                let earlier =
                    before.Threads |> Map.tryFind id |> Option.map choose |> Option.defaultValue 0L

                choose thread - earlier)

        let user = after.UserTicks - before.UserTicks
        let ticks = user + after.SystemTicks - before.SystemTicks

        let hasAllThreads =
            before.Threads |> Map.forall (fun id _ -> after.Threads.ContainsKey id)

        {
            Cpu =
                if hasAllThreads then
                    TimeSpan.FromMicroseconds(float (used _.Cpu) / 1000.0)
                else
                    tick * float ticks
            UserShare = if ticks = 0L then nan else float user / float ticks
            Switches = used _.Switches
        }
