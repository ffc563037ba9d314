namespace K8sReq.Journal

open System
open System.Diagnostics
open System.Threading

/// What is to be written, from any thread, to one reader that takes it in batches. What somebody waits for makes a batch after
/// the linger, or once there is enough of it; what nobody waits for goes with the next one, or by itself after a while.
[<Sealed>]
type JournalQueue(linger: TimeSpan) =
    // Completions alone are not synced one by one: those of so much time are sent twice after a crash.
    let completionDelay = TimeSpan.FromMilliseconds 50.0
    // A commit that is shared by so many gains little from more of them, and all of them wait.
    let enough = 32

    // Guards everything below; pulsed when the reader has something to do. A Monitor: the reader waits on it.
    let gate = obj ()
    let mutable work = ResizeArray<JournalWork>()
    // So much of it somebody waits for.
    let mutable urgent = 0
    // The batch before had some of that: more of it is to be expected.
    let mutable hadUrgent = false
    // The reader lets others share its batch: nothing needs to wake it.
    let mutable isLingering = false
    // The reader looks by itself whether completions have come.
    let mutable isWatching = false
    let mutable isStopping = false

    // For those that share a batch, to be called under the lock: so long from now, or until there is enough.
    let lingerForMore () =
        let began = Stopwatch.GetTimestamp()
        let mutable left = linger
        isLingering <- true

        // Ticks: F# compares spans of time as objects.
        while left.Ticks > 0L && urgent < enough && not isStopping do
            Monitor.Wait(gate, left) |> ignore
            left <- linger - Stopwatch.GetElapsedTime began

        isLingering <- false

    /// Adds work; it is refused once the queue has been stopped.
    member _.Post(next: JournalWork) : unit =
        let isTaken =
            lock gate (fun () ->
                if not isStopping then
                    work.Add next
                    let isPatient = JournalWork.isPatient next

                    if not isPatient then
                        urgent <- urgent + 1

                    let wakes =
                        if isLingering then
                            urgent = enough
                        else
                            // The first completion begins the time after which completions have a batch of their own.
                            not isPatient || (work.Count = 1 && not isWatching)

                    if wakes then
                        Monitor.Pulse gate

                not isStopping)

        if not isTaken then
            JournalWork.refuse next

    /// Puts work back that could not be done, before what has come since.
    member _.PutBack(earlier: JournalWork seq) : unit =
        lock gate (fun () ->
            let all = ResizeArray earlier
            all.AddRange work
            work <- all)

    /// Puts other work in the place of what is there, each piece for itself.
    member _.Replace(others: JournalWork -> JournalWork list) : unit =
        lock gate (fun () -> work <- ResizeArray(work |> Seq.collect others))

    /// The next batch. `retryDelay`: how long what nobody waits for is left, where it could not be written last time. None
    /// once the queue has been stopped and is empty. `due`: the reader has something that is to be written with a batch, or by
    /// itself after so long: the batch may be empty then.
    member _.Next(retryDelay: TimeSpan voption, due: TimeSpan voption) : ResizeArray<JournalWork> option =
        lock gate (fun () ->
            let mutable isOver = false
            // After a batch there will most often be completions: to wait for their time saves a wake-up by the first one.
            let mutable watches = retryDelay.IsNone && work.Count = 0

            // The linger of the next batch may begin before anything of it has come: under load that comes soon, and need not
            // wake the reader then.
            if hadUrgent && retryDelay.IsNone then
                lingerForMore ()
                isOver <- urgent > 0

            while not isOver do
                if isStopping then
                    isOver <- true
                elif urgent > 0 then
                    lingerForMore ()
                    isOver <- true
                elif watches then
                    watches <- false
                    let isDueFirst = due.IsSome && due.Value < completionDelay
                    isWatching <- true

                    let isWoken =
                        Monitor.Wait(gate, (if isDueFirst then due.Value else completionDelay))

                    isWatching <- false
                    isOver <- not isWoken && (isDueFirst || work.Count > 0)
                else
                    let delay =
                        if retryDelay.IsSome && (work.Count > 0 || due.IsSome) then
                            retryDelay
                        elif work.Count > 0 then
                            ValueSome completionDelay
                        else
                            due

                    match delay with
                    | ValueSome delay -> isOver <- not (Monitor.Wait(gate, delay))
                    | ValueNone -> Monitor.Wait gate |> ignore

            let batch = work
            work <- ResizeArray()
            hadUrgent <- urgent > 0
            urgent <- 0
            if isStopping && batch.Count = 0 then None else Some batch)

    /// Waits so long, or until the queue is stopped, and takes out what somebody waits for.
    member _.TakeUrgentAfter(time: TimeSpan) : JournalWork list =
        lock gate (fun () ->
            if not isStopping then
                Monitor.Wait(gate, time) |> ignore

            let taken = work |> Seq.filter (JournalWork.isPatient >> not) |> List.ofSeq
            work.RemoveAll(fun work -> not (JournalWork.isPatient work)) |> ignore
            urgent <- 0
            taken)

    member _.IsStopping = lock gate (fun () -> isStopping)

    /// Nothing more is taken; what is there is still handed out.
    member _.Stop() : unit =
        lock gate (fun () ->
            isStopping <- true
            Monitor.PulseAll gate)
