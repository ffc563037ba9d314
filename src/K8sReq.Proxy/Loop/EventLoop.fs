namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Diagnostics
open System.Threading
open System.Threading.Tasks

/// Told that these `Events` have happened to a descriptor that a loop watches. Must not throw and must not block.
type LoopHandler = delegate of events: int -> unit

/// How often something kept a loop from all else for longer than it may.
[<Struct>]
type LoopStalls = {
    Count: int64
    /// The longest.
    Longest: TimeSpan
}

module LoopStalls =
    let none: LoopStalls = { Count = 0L; Longest = TimeSpan.Zero }

    let add (one: LoopStalls) (other: LoopStalls) : LoopStalls = {
        Count = one.Count + other.Count
        Longest = max one.Longest other.Longest
    }

/// Told of each turn of a loop, on its thread: for tests that look for what blocks.
type TurnObserver =
    abstract Began: unit -> unit
    abstract Ended: took: TimeSpan -> unit

/// A thread that waits for sockets and does what follows from what happens to them, one thing after the other: a request and
/// its copies never leave it. Linux only.
///
/// **What runs on a loop must not block**, for everything else on it waits then. `Stalls` counts what took too long.
[<Sealed>]
type EventLoop private (name: string, failed: exn -> unit, observer: TurnObserver option) =
    [<ThreadStatic; DefaultValue>]
    static val mutable private current: EventLoop | null

    // Longer than anything that does not block takes; a collection of the heap counts too.
    // Of the stopwatch, as each turn is measured: comparing two TimeSpans as F# does boxes both.
    static let longestTurn = Stopwatch.Frequency / 100L
    static let ticksEvery = Stopwatch.Frequency
    static let wakeUpNumber = 0L
    static let targetsNumber = -1L

    let epoll = new Epoll()
    let wakeUp = new WakeUp()
    // What happens to targets' connections. The other one tells of it while the loop is not patient.
    let targets = new Epoll()
    let patience = Patience()
    // When the turn began, by the stopwatch.
    let mutable turnBegan = Stopwatch.GetTimestamp()
    let mutable nextTick = Stopwatch.GetTimestamp() + ticksEvery
    let mutable isToldOfTargets = false
    // More has happened to targets than could be told of at once.
    let mutable isMore = false
    let mutable targetsWatched = 0

    // Of the loop's thread alone. By descriptor: who watches it, and the number of that watch. A descriptor that was closed is
    // soon another connection's: what was still to be told of the one before bears another number.
    let mutable handlers: (LoopHandler | null)[] = Array.zeroCreate 64
    let mutable numbers: int64[] = Array.zeroCreate 64
    let mutable watches = 0L
    // What is to be done after what has happened, and before waiting again.
    let later = Queue<Action>()
    let ticks = List<Action>()
    let mutable isOver = false

    // From any thread.
    let posted = ConcurrentQueue<Action>()
    let mutable isSignalled = 0
    let mutable stalls = 0L
    let mutable longest = 0L
    let ended = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    let guarded (work: Action) =
        try
            work.Invoke()
        with error ->
            failed error

    // A turn that began then has ended: counted where it was too long.
    let turnEnded (began: int64) =
        let took = Stopwatch.GetTimestamp() - began

        match observer with
        | Some observer -> observer.Ended(Stopwatch.GetElapsedTime(0L, took))
        | None -> ()

        if took > longestTurn then
            stalls <- stalls + 1L
            longest <- max longest took

    // The number of a watch names the descriptor, too.
    let numberOf (watch: int64) (descriptor: int) = (watch <<< 32) ||| int64 descriptor

    let tell (number: int64) (events: int) =
        let descriptor = int (number &&& 0xFFFFFFFFL)

        if numbers[descriptor] = number then
            match handlers[descriptor] with
            | null -> ()
            | handler ->
                try
                    handler.Invoke events
                with error ->
                    failed error

    let runPosted () =
        // In this order. What is posted before the exchange is found in the queue; what is posted after it signals again. The
        // other way round the reset would swallow that signal, and nobody would signal any more.
        wakeUp.Reset()
        Interlocked.Exchange(&isSignalled, 0) |> ignore
        let mutable work = Unchecked.defaultof<Action>

        while posted.TryDequeue &work do
            guarded work

    // What these add is done in the next turn.
    let runLater () =
        for _ in 1 .. later.Count do
            guarded (later.Dequeue())

    // Has what happens to targets wake the loop, or not.
    let heedPatience () =
        if isToldOfTargets = patience.IsPatient then
            isToldOfTargets <- not patience.IsPatient
            epoll.Modify(targets.Descriptor, (if isToldOfTargets then Events.readable else 0), targetsNumber)

    // Tells of what has happened to targets, before clients' requests are copied: a connection that its target has closed is
    // known to be closed then. Whether there may be more of it.
    let tellOfTargets (hasWaited: bool) =
        let count = targets.Wait 0
        patience.Telling()

        for index in 0 .. count - 1 do
            tell (targets.Number index) (targets.Happened index)

        patience.Told(count, hasWaited)
        count = Epoll.Most

    // Whether anything has happened to targets, of so many events.
    let hasTargets (count: int) =
        let mutable index = 0

        while index < count && epoll.Number index <> targetsNumber do
            index <- index + 1

        index < count

    let timeout () =
        if later.Count > 0 then
            0
        elif patience.IsPatient && patience.IsLimited then
            1
        elif ticks.Count = 0 then
            -1
        else
            let left = max 0L (nextTick - Stopwatch.GetTimestamp())
            // Rounded up: a millisecond early it would wait again.
            int (left * 1000L / Stopwatch.Frequency) + 1

    // What has come about is told of, once something has.
    let turn () =
        heedPatience ()
        let limit = if isMore then 0 else timeout ()
        let count = epoll.Wait limit
        let began = Stopwatch.GetTimestamp()
        turnBegan <- began
        let mutable isCalled = false

        match observer with
        | Some observer -> observer.Began()
        | None -> ()

        patience.TurnBegan began

        // While it is patient it has to look for itself.
        isMore <-
            targetsWatched > 0
            && (not isToldOfTargets || hasTargets count)
            && tellOfTargets (count = 0 && limit > 0)

        for index in 0 .. count - 1 do
            let number = epoll.Number index

            if number = wakeUpNumber then
                isCalled <- true
            elif number <> targetsNumber then
                tell number (epoll.Happened index)

        if isCalled then
            runPosted ()

        if later.Count > 0 then
            runLater ()

        if ticks.Count > 0 && began >= nextTick then
            nextTick <- began + ticksEvery

            for tick in ticks.ToArray() do
                guarded tick

        turnEnded began

    // Each turn is a call: a method that is called once stays as it was compiled at first.
    let run () =
        while not isOver do
            turn ()

        (epoll :> IDisposable).Dispose()
        (targets :> IDisposable).Dispose()
        (wakeUp :> IDisposable).Dispose()
        ended.SetResult()

    // Tells of the events on it, by the one or the other.
    let watch (by: Epoll) (descriptor: int) (events: int) (handler: LoopHandler) =
        if descriptor >= handlers.Length then
            let size = max (descriptor + 1) (2 * handlers.Length)
            Array.Resize(&handlers, size)
            Array.Resize(&numbers, size)

        watches <- watches + 1L
        let number = numberOf watches descriptor
        by.Add(descriptor, events, number)
        handlers[descriptor] <- handler
        numbers[descriptor] <- number

    member private loop.Start() =
        epoll.Add(wakeUp.Descriptor, Events.readable, wakeUpNumber)
        epoll.Add(targets.Descriptor, 0, targetsNumber)

        let thread =
            Thread(
                (fun () ->
                    EventLoop.current <- loop
                    run ()),
                Name = name,
                IsBackground = true
            )

        thread.UnsafeStart()

    /// Starts one. `failed` is told of exceptions, which are defects: the loop goes on.
    static member Start(name: string, failed: exn -> unit, ?observer: TurnObserver) : EventLoop =
        let loop = EventLoop(name, failed, observer)
        loop.Start()
        loop

    /// The loop that this code runs on, if it runs on one.
    static member Current: EventLoop | null = EventLoop.current

    /// Whether this code runs on this loop.
    member loop.IsHere = Object.ReferenceEquals(EventLoop.current, loop)

    /// How often a turn of the loop took longer than 10 ms.
    member _.Stalls: LoopStalls = {
        Count = Volatile.Read &stalls
        Longest = Stopwatch.GetElapsedTime(0L, Volatile.Read &longest)
    }

    /// Does it on the loop, after what is under way there. From any thread.
    member _.Post(work: Action) : unit =
        posted.Enqueue work

        // Where it is set already, the loop has been called and has not looked at the queue yet.
        if Interlocked.Exchange(&isSignalled, 1) = 0 then
            wakeUp.Signal()

    /// Does it at once if this is the loop, else soon. From any thread.
    member loop.Run(work: Action) : unit =
        if loop.IsHere then work.Invoke() else loop.Post work

    /// Does it once everything that has happened has been told of. On the loop.
    member _.Later(work: Action) : unit = later.Enqueue work

    /// Does it once everything that has happened has been told of, where this code runs on a loop; else at once.
    static member Afterwards(work: Action) : unit =
        match EventLoop.current with
        | null -> work.Invoke()
        | loop -> loop.Later work

    /// Does it every second or so, until it is told not to. On the loop.
    member _.Tick(work: Action) : unit = ticks.Add work

    /// Does it no more. On the loop.
    member _.StopTick(work: Action) : unit = ticks.Remove work |> ignore

    /// Tells the handler of these events from now on. On the loop.
    member _.Watch(descriptor: int, events: int, handler: LoopHandler) : unit =
        watch epoll descriptor events handler

    /// The same for a connection to a target, whose events may have to wait (`Patience`). It is not to be forgotten or handed
    /// over, but closed by `CloseTarget`. On the loop.
    member _.WatchTarget(descriptor: int, events: int, handler: LoopHandler) : unit =
        targetsWatched <- targetsWatched + 1
        watch targets descriptor events handler

    /// The system's clock as it stood when the turn began; any other clock as it is. For times of which a turn's length does not
    /// matter: asking the system takes as long as a lock, and each copy asks several times. What it gives is for the loop alone.
    member loop.ClockOfTurns(clock: TimeProvider) : TimeProvider =
        if Object.ReferenceEquals(clock, TimeProvider.System) then
            {
                new TimeProvider() with
                    override _.GetTimestamp() = loop.TurnBegan
            }
        else
            clock

    /// When the turn began, by the stopwatch. On the loop.
    member private _.TurnBegan: int64 = turnBegan

    /// To be told of what is sent to targets. On the loop.
    member _.Patience = patience

    /// Tells of these events instead. On the loop.
    member _.Rewatch(descriptor: int, events: int) : unit =
        epoll.Modify(descriptor, events, numbers[descriptor])

    /// Tells another one of what happens from now on. On the loop.
    member _.HandOver(descriptor: int, handler: LoopHandler) : unit = handlers[descriptor] <- handler

    /// Tells of nothing any more that happens to a descriptor which somebody else closes. On the loop.
    member _.Forget(descriptor: int) : unit =
        epoll.Remove descriptor
        handlers[descriptor] <- null
        numbers[descriptor] <- 0L

    /// Closes a descriptor that it watches. On the loop.
    member _.Close(descriptor: int) : unit =
        handlers[descriptor] <- null
        numbers[descriptor] <- 0L
        Libc.close descriptor

    /// Closes a descriptor that `WatchTarget` watches. On the loop.
    member loop.CloseTarget(descriptor: int) : unit =
        targetsWatched <- targetsWatched - 1
        loop.Close descriptor

    /// Ends the thread. What is still watched or posted is forgotten.
    member loop.StopAsync() : Task =
        loop.Post(fun () -> isOver <- true)
        ended.Task
