namespace K8sReq.Proxy

open System
open K8sReq.Core

/// What became of a copy at each lane of the host. Most requests have slots alone: the other lists take no memory then.
[<Sealed>]
type internal Offered() =
    static let noLanes = ResizeArray<Lane>(0)
    let mutable full = noLanes
    let mutable spilled = noLanes
    let mutable durable = noLanes
    let mutable isRefused = false

    let added (lanes: ResizeArray<Lane>) (lane: Lane) =
        let lanes =
            if Object.ReferenceEquals(lanes, noLanes) then
                ResizeArray<Lane>(2)
            else
                lanes

        lanes.Add lane
        lanes

    /// Those that have a place in their lane.
    member val Slots = ResizeArray<LaneSlot>(2)
    /// Lanes that had no room: their copies are dropped.
    member _.Full = full
    /// Lanes that had no room, and whose copies wait in the journal.
    member _.Spilled = spilled
    /// Lanes for whose copies there is room in the journal, whether they have a slot or not.
    member _.Durable = durable
    /// A RequestClone wants the request to be refused rather than to miss it.
    member _.IsRefused = isRefused

    /// A lane whose target does not want this request.
    member val HasUnwanted = false with get, set

    member _.AddFull(lane: Lane) =
        full <- added full lane
        isRefused <- isRefused || lane.Target.Delivery.WhenFull = FullPolicy.Refuse

    member _.AddSpilled(lane: Lane) = spilled <- added spilled lane
    member _.AddDurable(lane: Lane) = durable <- added durable lane
