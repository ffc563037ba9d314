namespace K8sReq.Host.Proxy

open K8sReq.Core

/// What became of one copy.
type CopyReport = Target -> TargetOutcome -> unit

module FanOut =
    /// Delivers a copy from every place in parallel, reports each outcome once, and then, when nothing reads the
    /// request any more, calls `release`: the one place where the memory of a request that was accepted is given back.
    /// A child that throws would cancel its siblings: `deliver` and `report` must not.
    let run
        (deliver: Place -> Async<TargetOutcome>)
        (report: CopyReport)
        (release: unit -> unit)
        (places: Place[])
        : Async<unit> =
        let deliverOne (struct (lane, _) as place: Place) = async {
            let! outcome = deliver place
            report lane.Target outcome
        }

        async {
            try
                let! _ = places |> Array.map deliverOne |> Async.Parallel
                return ()
            finally
                release ()
        }
