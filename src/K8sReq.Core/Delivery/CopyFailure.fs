namespace K8sReq.Core

open System

/// A copy that was not delivered, and why.
[<NoComparison>]
type CopyFailure = {
    At: DateTimeOffset
    Target: Target
    Outcome: TargetOutcome
    /// How often it was tried.
    Attempts: int
    /// From its acceptance to its end.
    Duration: TimeSpan
    /// Empty where nothing is traced.
    TraceId: string
}

/// A copy that was delivered.
type CopyDelivered = {
    At: DateTimeOffset
    /// `address:port`
    Endpoint: string
    /// What the target answered.
    Status: int
    /// How often it was tried.
    Attempts: int
    /// From its acceptance to its end.
    Duration: TimeSpan
    /// Empty where nothing is traced.
    TraceId: string
}
