namespace K8sReq.Proxy

open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Where the objects come from that routes are made of.
[<NoEquality; NoComparison>]
type RouteSource = {
    /// What has to be listed before the routes are known.
    Scopes: Set<WatchScope>
    Metrics: SourceMetrics
    /// Told of every routing that is in force. Must not block.
    Published: Routing -> unit
    /// Follows the objects until the token says stop, and hands on what happens to them; each list of events belongs
    /// together. A task that fails is a defect.
    Run: (ClusterEvent list -> unit) -> CancellationToken -> Task list
}
