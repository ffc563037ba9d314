/// Routes from a folder of manifests.
module K8sReq.Host.Manifests.FolderSource

open System
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Kubernetes
open K8sReq.Host
open K8sReq.Proxy

// Two scans have to agree before a change counts, so it is routed after 0.4 s at most where the system tells of it.
let private scanInterval = TimeSpan.FromMilliseconds 200.0

// For changes of which the system does not tell. Each scan wakes threads that would sleep.
let private quietInterval = TimeSpan.FromSeconds 2.0

// Of one change. A file may have thousands of documents, each with its fault; `check` prints all of them.
let private mostReported = 50

let private reportProblems (logger: ILogger) (before: ManifestProblem list) (now: ManifestProblem list) =
    let report tell (problems: ManifestProblem list) =
        for problem in List.truncate mostReported problems do
            tell (ManifestProblem.describe problem)

        if problems.Length > mostReported then
            tell $"{problems.Length - mostReported} more; `k8sreq check` prints all of them"

    report (Log.manifestProblem logger) (List.except before now)
    report (Log.manifestProblemGone logger) (List.except now before)

let private follow
    (logger: ILogger)
    clock
    (folder: ManifestFolder)
    (post: ClusterEvent list -> unit)
    stop
    : Task =
    let first = folder.Scan()
    reportProblems logger [] first.Problems
    post (FolderContent.toEvents RouteKinds.all first)
    let mutable problems = first.Problems

    let onChange (content: FolderContent) =
        reportProblems logger problems content.Problems
        problems <- content.Problems
        post (FolderContent.toEvents RouteKinds.all content)

    folder.FollowAsync(clock, scanInterval, quietInterval, first, onChange, stop)

let create (logger: ILogger) (clock: TimeProvider) (path: string) : RouteSource =
    let metrics = SourceMetrics clock
    let folder = ManifestFolder(RouteKinds.kinds, path, (fun () -> metrics.Synced path))

    {
        Scopes = Set.singleton WatchScope.AllNamespaces
        Metrics = metrics
        Published = ignore
        // A large folder takes seconds to read: nobody waits for that here.
        Run = fun post stop -> [ Task.Run(fun () -> follow logger clock folder post stop) ]
    }
