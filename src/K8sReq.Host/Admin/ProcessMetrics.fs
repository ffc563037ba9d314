/// What is measured of the process itself, by the names that Prometheus' and .NET's dashboards know.
module K8sReq.Host.Admin.ProcessMetrics

open System
open System.Diagnostics
open System.IO
open System.Threading
open K8sReq.Core

let private number = MetricSample.number
let private one (value: float) = [ number [] value ]

/// A time as metrics have it: seconds, to the millisecond.
let unixSeconds (time: DateTimeOffset) =
    float (time.ToUnixTimeMilliseconds()) / 1000.0

let private openDescriptors () =
    try
        if Directory.Exists "/proc/self/fd" then
            // The listing itself is one.
            [
                number [] (float ((Directory.GetFileSystemEntries "/proc/self/fd").Length - 1))
            ]
        else
            []
    with :? IOException -> []

let private started =
    lazy (DateTimeOffset(Process.GetCurrentProcess().StartTime.ToUniversalTime()))

/// Reading the samples reads them as they are then.
let families () : MetricFamily list = [
    MetricFamily.counter
        "process.cpu"
        "s"
        "User and system CPU time."
        (one Environment.CpuUsage.TotalTime.TotalSeconds)
    MetricFamily.gauge "process.resident_memory" "By" "Resident memory." (one (float Environment.WorkingSet))
    MetricFamily.gauge "process.open_fds" "" "Open file descriptors." (openDescriptors ())
    MetricFamily.gauge
        "process.start_time"
        "s"
        "Unix time at which the process started."
        (one (unixSeconds started.Value))
    MetricFamily.counter "dotnet.gc.collections" "{collection}" "Garbage collections, by generation." [
        for generation in 0 .. GC.MaxGeneration ->
            let older =
                if generation < GC.MaxGeneration then
                    GC.CollectionCount(generation + 1)
                else
                    0

            number
                [ "dotnet.gc.heap.generation", $"gen{generation}" ]
                (float (GC.CollectionCount generation - older))
    ]
    MetricFamily.counter
        "dotnet.gc.pause.time"
        "s"
        "Time that the process was paused for garbage collections."
        (one (GC.GetTotalPauseDuration()).TotalSeconds)
    MetricFamily.counter
        "dotnet.gc.heap.total_allocated"
        "By"
        "Bytes allocated."
        (one (float (GC.GetTotalAllocatedBytes false)))
    MetricFamily.gauge
        "dotnet.gc.last_collection.memory.committed_size"
        "By"
        "Committed heap memory after the last garbage collection."
        (one (float (GC.GetGCMemoryInfo().TotalCommittedBytes)))
    // The conventions call it dotnet.thread_pool.thread.count. A name that ends so is a histogram's in both formats.
    MetricFamily.gauge
        "dotnet.thread_pool.threads"
        "{thread}"
        "Thread pool threads."
        (one (float ThreadPool.ThreadCount))
    MetricFamily.gauge
        "dotnet.thread_pool.queue.length"
        "{work_item}"
        "Work items waiting for a thread pool thread."
        (one (float ThreadPool.PendingWorkItemCount))
]
