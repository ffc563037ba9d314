namespace K8sReq.Proxy

open System
open System.Threading
open Microsoft.Extensions.Logging
open K8sReq.Core

/// Remembers the hosts without a target that requests come for, and logs each once: a sender's wrong address, or a RequestClone
/// that is missing, looks like nothing else from outside. From any thread.
[<Sealed>]
type UnknownHostLog(logger: ILogger, clock: TimeProvider) =
    static let mostLines = 5
    static let window = TimeSpan.FromMinutes 1.0

    // Guards both.
    let gate = Lock()
    let mutable hosts = UnknownHosts.empty
    let mutable lines = LogRateLimit.fresh

    let note (host: string) : struct (bool * int64) =
        exclusively gate (fun () ->
            let struct (now, isNew) = UnknownHosts.note (clock.GetUtcNow()) host hosts
            hosts <- now

            if isNew then
                let struct (next, isLogged, omitted) =
                    LogRateLimit.offer mostLines window (clock.GetElapsedTime 0L) lines

                lines <- next
                struct (isLogged, omitted)
            else
                struct (false, 0L))

    /// A request came for this host, and it has no target.
    member _.Met(host: string) : unit =
        let struct (isLogged, omitted) = note host

        if omitted > 0L then
            ProxyLog.unknownHostsOmitted logger omitted

        if isLogged then
            ProxyLog.unknownHost logger host

    /// Those that are remembered now.
    member _.Hosts: UnknownHosts = exclusively gate (fun () -> hosts)
