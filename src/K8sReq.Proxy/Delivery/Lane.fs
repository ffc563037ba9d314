namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// What became of a copy that was offered to a lane.
[<RequireQualifiedAccess; Struct>]
type LaneEntry =
    /// It has a place. True once it may be sent, and then `Leave` is to be called when it has been; false if the lane was
    /// retired before that.
    | Entered of Task<bool>
    | Full
    /// The target is no longer routed; the table has what is.
    | Retired

/// What a lane tells of itself. Called from any thread, outside the lane's lock; must not throw.
type LaneEvents = {
    /// The lane has begun to drop copies.
    Overflowed: Target -> unit
    /// It takes them again; so many were dropped meanwhile.
    Recovered: Target -> int64 -> unit
}

/// The way to one target: how many sends there may be at once, and a queue for the rest. From many threads at once.
/// The statistics are the RequestClone's, which may get other lanes.
[<Sealed>]
type Lane
    (
        clock: TimeProvider,
        turns: Turns,
        initial: Target,
        limits: LaneLimits,
        events: LaneEvents,
        statistics: CloneStatistics
    ) =
    static let atOnce = LaneEntry.Entered(Task.FromResult true)

    // Guards everything below: `load` counts exactly the copies that hold a slot and those in `waiting`, and a copy waits
    // only while every slot is taken. Nothing that may run a copy is called with it held.
    let gate = Lock()
    let mutable target = initial
    // Not under the lock: set before a copy that is not durable can enter, never reset.
    let mutable hasBeenVolatile = not initial.Delivery.IsDurable
    // How much each weighs, since when it waits, and what tells it that it is its turn.
    let waiting = Queue<struct (int64 * int64 * TaskCompletionSource<bool>)>()
    let mutable load = LaneLoad.empty
    let retired = new CancellationTokenSource()
    // Copies dropped since the lane overflowed; 0 while it takes them.
    let mutable dropped = 0L

    let enqueue bytes =
        let turn = TaskCompletionSource<bool>()
        waiting.Enqueue(struct (bytes, clock.GetTimestamp(), turn))
        turn.Task

    // It is this copy's turn as far as its lane goes; or it is given up. What goes on then does so when its namespace has
    // its turn.
    let complete (turn: TaskCompletionSource<bool>) (isSent: bool) =
        turns.Add(initial.Clone.Namespace, (fun () -> turn.SetResult isSent))

    // To be called under the lock: the number to tell of, once.
    let recoveredNow () =
        if dropped > 0L && LaneLoad.hasRecovered limits load then
            let count = dropped
            dropped <- 0L
            count
        else
            0L

    // To be called under the lock, where copies wait: those whose turn it is now.
    let takeTurns () : ResizeArray<TaskCompletionSource<bool>> =
        let next = ResizeArray<TaskCompletionSource<bool>>()
        let mutable isOver = false

        while not isOver do
            let struct (size, _, turn) = waiting.Peek()

            match LaneLoad.trySendNext limits size load with
            | ValueSome sending ->
                load <- sending
                waiting.Dequeue() |> ignore
                next.Add turn
                isOver <- waiting.Count = 0
            | ValueNone -> isOver <- true

        next

    // To be called under the lock: those whose turn it is now, null for nobody, and the number to tell of.
    let leave (bytes: int64) : struct (ResizeArray<TaskCompletionSource<bool>> | null * int64) =
        load <- LaneLoad.finish bytes load

        let next: ResizeArray<TaskCompletionSource<bool>> | null =
            if waiting.Count = 0 then null else takeTurns ()

        struct (next, recoveredNow ())

    let announce (struct (next: ResizeArray<TaskCompletionSource<bool>> | null, recovered: int64)) : unit =
        if recovered > 0L then
            events.Recovered target recovered

        match next with
        | null -> ()
        | next ->
            for turn in next do
                complete turn true

    /// The target as the table in force has it.
    member _.Target = Volatile.Read &target

    /// Takes what has changed of the target but not its address: how copies are delivered to it.
    member _.Update(changed: Target) =
        if not changed.Delivery.IsDurable then
            Volatile.Write(&hasBeenVolatile, true)

        Volatile.Write(&target, changed)

    /// Whether all copies that it has are kept by the store, whatever becomes of the process.
    member _.IsDurable = not (Volatile.Read &hasBeenVolatile)

    member _.Statistics = statistics

    /// What brings copies out of the journal: see `BacklogFeeder`. Null where there is none. Set before the lane is published.
    member val Nudge: Action | null = null with get, set

    /// Something has changed that may let copies come out of the journal. With no lock held.
    member lane.NudgeNow() : unit =
        match lane.Nudge with
        | null -> ()
        | nudge -> nudge.Invoke()

    member _.Load = exclusively gate (fun () -> load)

    /// For how long the first copy in the queue has waited for its turn.
    member _.OldestWait: TimeSpan =
        exclusively gate (fun () ->
            match waiting.TryPeek() with
            | true, struct (_, since, _) -> clock.GetElapsedTime since
            | false, _ -> TimeSpan.Zero)

    /// Offers a copy of so many bytes.
    member _.TryEnter(bytes: int64) : LaneEntry =
        let struct (entry, isFirstDrop) =
            exclusively gate (fun () ->
                if retired.IsCancellationRequested then
                    struct (LaneEntry.Retired, false)
                else
                    let struct (next, admission) = LaneLoad.offer limits bytes load
                    load <- next

                    match admission with
                    | LaneAdmission.Send -> struct (atOnce, false)
                    | LaneAdmission.Queue -> struct (LaneEntry.Entered(enqueue bytes), false)
                    // The journal takes it.
                    | LaneAdmission.Overflow when target.Delivery.IsDurable -> struct (LaneEntry.Full, false)
                    | LaneAdmission.Overflow ->
                        dropped <- dropped + 1L
                        struct (LaneEntry.Full, dropped = 1L))

        if isFirstDrop then
            events.Overflowed target

        entry

    /// The send of a copy of so many bytes has ended: the next ones begin.
    member _.Leave(bytes: int64) : unit =
        exclusively gate (fun () -> leave bytes) |> announce

    /// A send of so many bytes has ended without success: the next one begins, and the copy waits outside of the queue
    /// until `Unpark`. False if there is no room for it, or the lane is retired: then it has not left.
    member _.TryPark(bytes: int64) : bool =
        let result =
            exclusively gate (fun () ->
                match LaneLoad.tryPark limits bytes load with
                | ValueSome parked when not retired.IsCancellationRequested ->
                    load <- parked
                    ValueSome(leave bytes)
                | _ -> ValueNone)

        result |> ValueOption.iter announce
        result.IsSome

    /// A copy that has rested wants to be sent again. Never `Full`.
    member _.Unpark(bytes: int64) : LaneEntry =
        let struct (entry, now) =
            exclusively gate (fun () ->
                let struct (awake, admission) = LaneLoad.unpark limits bytes load

                match admission with
                | _ when retired.IsCancellationRequested ->
                    load <- {
                        load with
                            Parked = awake.Parked
                            ParkedBytes = awake.ParkedBytes
                    }

                    struct (LaneEntry.Retired, ValueNone)
                | LaneAdmission.Send ->
                    load <- awake
                    let turn = TaskCompletionSource<bool>()
                    struct (LaneEntry.Entered turn.Task, ValueSome turn)
                | LaneAdmission.Queue
                | LaneAdmission.Overflow ->
                    load <- awake
                    struct (LaneEntry.Entered(enqueue bytes), ValueNone))

        now |> ValueOption.iter (fun turn -> complete turn true)
        entry

    /// Cancelled when the lane is retired.
    member _.Retired: CancellationToken = retired.Token

    /// The target is no longer routed: nothing enters any more, and what waits is given up. What is being sent goes on.
    member _.Retire() : unit =
        // First, so that nobody enters between the two.
        retired.Cancel()

        let givenUp =
            exclusively gate (fun () ->
                load <- LaneLoad.clearQueue load
                let turns = waiting.ToArray()
                waiting.Clear()
                turns)

        for struct (_, _, turn) in givenUp do
            complete turn false
