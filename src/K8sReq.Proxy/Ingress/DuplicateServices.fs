namespace K8sReq.Proxy

open System
open System.Threading.Tasks
open K8sReq.Core

/// A response to a client.
[<Struct>]
type Answer = {
    /// Of the request, as its protocol is.
    Method: string
    Protocol: string
    Status: int
    /// Why the request was refused (`Refusal.word`); empty if it was not.
    Reason: string
    /// Since the request's headers came.
    Duration: TimeSpan
}

/// What the proxy does its work with.
type DuplicateServices = {
    /// Waits for the routes to be known: true once they are, false if the request must not wait any longer.
    RoutesKnown: unit -> ValueTask<bool>
    /// The snapshot in force.
    Hosts: unit -> HostMap<HostEntry>
    Delivery: DeliveryServices
    /// Told of every response.
    Answered: Answer -> unit
    Refusals: RefusalLog
    UnknownHosts: UnknownHostLog
    Tap: Tap
    /// Told of exceptions that no handler expects: their requests are answered 500.
    Failed: exn -> unit
    /// From the first moment of the drain on every answer ends its connection: the next request is to go elsewhere.
    IsDraining: unit -> bool
    Accounts: CopyAccounts
    Clock: TimeProvider
    Tracing: Tracing
    Budget: BufferBudget
    /// What a client may take for its body.
    ReadTimeout: TimeSpan
    /// Bytes; None for no limit.
    BodySizeLimit: int64 option
    /// The name that Via fields know this proxy by.
    ViaName: string
}
