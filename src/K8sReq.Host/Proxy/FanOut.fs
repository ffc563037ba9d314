namespace K8sReq.Host.Proxy

open System.Threading
open K8sReq.Core

/// What became of one copy.
type CopyReport = Target -> TargetOutcome -> unit

module FanOut =
    // A child that throws would cancel its siblings, so none does, whatever the client it was given.
    let private sendOne (client: TargetClient) (report: CopyReport) request stop (target: Target) = async {
        let! outcome = async {
            try
                return! client target request stop
            with error ->
                return TargetOutcome.Faulted error.Message
        }

        report target outcome
    }

    /// Sends a copy to every target in parallel, reports each outcome once, and then, when nothing reads the request
    /// any more, calls `release`: the one place where a request's memory is given back. `report` must not throw.
    let run
        (client: TargetClient)
        (report: CopyReport)
        (release: unit -> unit)
        (targets: Target[])
        (request: CapturedRequest)
        (stop: CancellationToken)
        : Async<unit> = async {
        try
            let! _ = targets |> Array.map (sendOne client report request stop) |> Async.Parallel
            return ()
        finally
            release ()
    }
