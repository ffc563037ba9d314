namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Threading
open K8sReq.Core

/// A RequestClone's copies: what has become of them, and the lanes that have some now.
[<Sealed>]
type CloneEntry(statistics: CloneStatistics) =
    // Guards `lanes`: the lane in force, and retired ones that still have copies.
    let gate = Lock()
    let mutable lanes: Lane list = []

    // A lane that is retired may have copies on their way still.
    let isOfUse (lane: Lane) =
        not lane.Retired.IsCancellationRequested || lane.Load <> LaneLoad.empty

    member _.Statistics = statistics

    member _.Add(lane: Lane) : unit =
        exclusively gate (fun () -> lanes <- lane :: List.filter isOfUse lanes)

    /// The one in force first.
    member _.Lanes: Lane list =
        exclusively gate (fun () ->
            lanes <- List.filter isOfUse lanes
            lanes)

    /// What all lanes hold together, and how long the first copy has waited for its turn.
    member entry.Load: struct (LaneLoad * TimeSpan) =
        let lanes = entry.Lanes

        let sum =
            (LaneLoad.empty, lanes)
            ||> List.fold (fun sum lane -> LaneLoad.add sum lane.Load)

        let oldest =
            (TimeSpan.Zero, lanes)
            ||> List.fold (fun oldest lane -> max oldest lane.OldestWait)

        struct (sum, oldest)

/// Every RequestClone that has or had a lane, for as long as there is such a RequestClone. From any thread.
[<Sealed>]
type CloneDirectory() =
    let clones = ConcurrentDictionary<ObjectKey, CloneEntry>()

    // Those that have a history. Of ten thousand RequestClones few may ever get a request, and to look at each of the others
    // takes as long every time.
    let recorded = ConcurrentDictionary<CloneStatistics, unit>()

    let create =
        Func<ObjectKey, CloneEntry>(fun clone ->
            CloneEntry(CloneStatistics(clone, (fun statistics -> recorded.TryAdd(statistics, ()) |> ignore))))

    // A copy may end when its RequestClone is no more, and another one of its name may be there.
    let isKnown (statistics: CloneStatistics) =
        match clones.TryGetValue statistics.Clone with
        | true, entry -> Object.ReferenceEquals(entry.Statistics, statistics)
        | false, _ -> false

    member _.Of(clone: ObjectKey) : CloneEntry = clones.GetOrAdd(clone, create)

    member _.TryFind(clone: ObjectKey) : CloneEntry voption =
        match clones.TryGetValue clone with
        | true, entry -> ValueSome entry
        | false, _ -> ValueNone

    /// The lane that a RequestClone's copies take now; None if nothing is routed for it.
    member _.LaneOf(clone: ObjectKey) : Lane option =
        match clones.TryGetValue clone with
        | true, entry ->
            entry.Lanes
            |> List.tryFind (fun lane -> not lane.Retired.IsCancellationRequested)
        | false, _ -> None

    /// As they are now, in no order.
    member _.Unordered: CloneEntry seq = clones |> Seq.map _.Value

    /// A slot of all histories has passed. To be called by one thread.
    member _.CloseSlots(at: DateTimeOffset) : unit =
        for KeyValue(statistics, ()) in recorded do
            if isKnown statistics then
                statistics.CloseSlot at
            else
                recorded.TryRemove statistics |> ignore

    /// Ordered by key.
    member _.All: CloneEntry[] =
        clones.ToArray() |> Array.sortBy _.Key |> Array.map _.Value

    /// These RequestClones are no more: nothing is told of them from here on.
    member _.Remove(gone: ObjectKey seq) : unit =
        for clone in gone do
            clones.TryRemove clone |> ignore
