namespace K8sReq.Host.Proxy

open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// What became of one copy.
type CopyReport = Target -> TargetOutcome -> unit

/// A copy's place in a lane, and its turn (see `LaneEntry.Entered`).
type Place = (struct (Lane * Task<bool>))

module FanOut =
    // A child that throws would cancel its siblings, so none does, whatever the client it was given.
    let private sendNow (client: TargetClient) request stop (lane: Lane) = async {
        try
            try
                return! client lane.Target request stop
            with error ->
                return TargetOutcome.Faulted error.Message
        finally
            lane.Leave()
    }

    let private sendOne
        (client: TargetClient)
        (report: CopyReport)
        request
        stop
        (struct (lane, turn): Place)
        = async {
        let! isMyTurn = Async.AwaitTask turn

        let! outcome =
            if isMyTurn then
                sendNow client request stop lane
            else
                async.Return TargetOutcome.Cancelled

        report lane.Target outcome
    }

    /// Sends a copy from every place in parallel, each when its turn comes, reports each outcome once, and then, when
    /// nothing reads the request any more, calls `release`: the one place where the memory of a request that was
    /// accepted is given back. `report` must not throw.
    let run
        (client: TargetClient)
        (report: CopyReport)
        (release: unit -> unit)
        (places: Place[])
        (request: CapturedRequest)
        (stop: CancellationToken)
        : Async<unit> = async {
        try
            let! _ = places |> Array.map (sendOne client report request stop) |> Async.Parallel
            return ()
        finally
            release ()
    }
