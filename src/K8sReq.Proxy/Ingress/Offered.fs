namespace K8sReq.Proxy

open System
open K8sReq.Core

/// What became of a copy at each lane of the host. Most requests have slots alone: the other lists take no memory then.
[<Sealed>]
type internal Offered() =
    static let noLanes = ResizeArray<Lane>(0)
    static let noCopies = ResizeArray<DurableCopy>(0)
    let slots = ResizeArray<LaneSlot>(2)
    let mutable full = noLanes
    let mutable spilled = noLanes
    // Of those that have a slot.
    let mutable durable = noCopies
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
    member _.Slots = slots
    /// Lanes that had no room: their copies are dropped.
    member _.Full = full
    /// Lanes that had no room, and whose copies wait in the journal.
    member _.Spilled = spilled

    /// The copies for which there is room in the journal, whether they have a slot or not; null if there are none.
    member _.Durable: DurableCopy[] | null =
        if durable.Count + spilled.Count = 0 then
            null
        else
            let all = Array.zeroCreate<DurableCopy>(durable.Count + spilled.Count)
            durable.CopyTo all

            for index in 0 .. spilled.Count - 1 do
                all[durable.Count + index] <- {
                    Copy = slots.Count + index
                    Clone = spilled[index].Target.Clone
                    IsSpilled = true
                }

            all

    /// A RequestClone wants the request to be refused rather than to miss it.
    member _.IsRefused = isRefused

    /// A lane whose target does not want this request.
    member val HasUnwanted = false with get, set

    member _.AddFull(lane: Lane) =
        full <- added full lane
        isRefused <- isRefused || lane.Target.Delivery.WhenFull = FullPolicy.Refuse

    member _.AddSpilled(lane: Lane) = spilled <- added spilled lane

    /// `isDurable`: the journal has room for its copy.
    member _.AddSlot(struct (lane, _) as slot: LaneSlot, isDurable: bool) =
        if isDurable then
            if durable.Capacity = 0 then
                durable <- ResizeArray<DurableCopy>(2)

            durable.Add {
                Copy = slots.Count
                Clone = lane.Target.Clone
                IsSpilled = false
            }

        slots.Add slot
