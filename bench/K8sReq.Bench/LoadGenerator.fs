namespace K8sReq.Bench

open System
open System.Collections.Generic
open System.Diagnostics

/// What has been counted so far.
[<Sealed>]
type private Tally(capacity: int) =
    member val Accepted = 0L with get, set
    member val AcceptedInTime = 0L with get, set
    member val Answered = 0L with get, set
    member val Waited = 0L with get, set
    // Their space is taken before: the loop allocates nothing, so that no collection delays a request.
    member val Latencies = ResizeArray<float> capacity
    member val Lateness = ResizeArray<float> capacity

    member tally.Count(status: int, isInTime: bool) =
        tally.Answered <- tally.Answered + 1L

        if status = 202 then
            tally.Accepted <- tally.Accepted + 1L

            if isInTime then
                tally.AcceptedInTime <- tally.AcceptedInTime + 1L

/// Open connections to a port, and one thread that sends on them: the caller's, which it occupies.
[<Sealed>]
type LoadGenerator(port: int, request: LoadRequest, connections: int) =
    let epoll = new Libc.Epoll()

    let opened number =
        let connection = new LoadConnection(port, request)
        epoll.Add(connection.Descriptor, number)
        connection

    let all = Array.init connections opened
    // The last one that was used is the next one, as in the pools of ingress controllers and libraries.
    let idle = Stack<LoadConnection>()
    let grace = 10_000_000_000L

    let reopen number =
        (all[number] :> IDisposable).Dispose()
        all[number] <- opened number

    // What an earlier load has left without a response does not come into this one.
    let reset () =
        idle.Clear()

        for number in 0 .. all.Length - 1 do
            if all[number].IsBusy then
                reopen number

            idle.Push all[number]

    // Waits for at most so many nanoseconds. A request whose connection is closed has the status 0.
    let poll (timeout: int64) (finished: LoadConnection -> int -> unit) =
        for index in 0 .. epoll.Wait(max 0L timeout) - 1 do
            let number = epoll.Number index
            let connection = all[number]

            if epoll.IsWritable index && connection.IsSending then
                connection.Continue()

            if epoll.IsReadable index then
                match connection.Receive() with
                | Received.NotYet -> ()
                | Received.Response status -> finished connection status
                | Received.Closed ->
                    reopen number

                    if connection.IsBusy then
                        all[number].DueAt <- connection.DueAt
                        finished all[number] 0

    let timed (duration: TimeSpan) (load: (unit -> int64) -> int64 -> Tally * int64) : LoadResult =
        Libc.useExactTimers ()
        reset ()
        let cpu = Libc.threadTime ()
        let start = Stopwatch.GetTimestamp()

        let elapsed () =
            Stopwatch.GetElapsedTime(start).Ticks * 100L

        let tally, due = load elapsed (duration.Ticks * 100L)

        {
            Due = due
            Accepted = tally.Accepted
            AcceptedInTime = tally.AcceptedInTime
            Duration = duration
            Latencies = tally.Latencies.ToArray() |> Array.sort
            Lateness = tally.Lateness.ToArray() |> Array.sort
            Waited = tally.Waited
            Cpu = TimeSpan.FromMicroseconds(float (Libc.threadTime () - cpu) / 1000.0)
        }

    /// Sends each request when it is due, whether or not earlier ones have been answered. What is due while every
    /// connection is busy waits for the first that is not, and that counts as a part of its time.
    member _.Follow(schedule: int64[], duration: TimeSpan) : LoadResult =
        timed duration (fun elapsed ending ->
            let tally = Tally schedule.Length
            let mutable sent = 0
            // Those before this one were due while no connection was free.
            let mutable held = 0
            let mutable isFull = false

            let finished (connection: LoadConnection) status =
                let now = elapsed ()
                tally.Latencies.Add(float (now - connection.DueAt) / 1e6)
                tally.Count(status, now <= ending)
                idle.Push connection

            let sendDue () =
                if isFull then
                    held <- max held sent

                    while held < schedule.Length && schedule[held] <= elapsed () do
                        held <- held + 1

                while sent < schedule.Length && idle.Count > 0 && schedule[sent] <= elapsed () do
                    if sent < held then
                        tally.Waited <- tally.Waited + 1L
                    else
                        tally.Lateness.Add(float (elapsed () - schedule[sent]) / 1e3)

                    idle.Pop().Begin schedule[sent]
                    sent <- sent + 1

                isFull <- idle.Count = 0

            while tally.Answered < int64 schedule.Length && elapsed () < ending + grace do
                sendDue ()

                let next =
                    if sent < schedule.Length && idle.Count > 0 then
                        schedule[sent]
                    else
                        ending + grace

                poll (next - elapsed ()) finished

            tally, int64 schedule.Length)

    /// Sends on each connection the next request as soon as the one before has its response, until the time is over or so
    /// many have been sent.
    member _.Saturate(most: int64, longest: TimeSpan) : LoadResult =
        timed longest (fun elapsed ending ->
            let tally = Tally 0
            let mutable sent = 0L

            let isOver () = sent >= most || elapsed () >= ending

            let finished (connection: LoadConnection) status =
                tally.Count(status, elapsed () <= ending)

                if not (isOver ()) then
                    sent <- sent + 1L
                    connection.Begin 0L

            while idle.Count > 0 && not (isOver ()) do
                sent <- sent + 1L
                idle.Pop().Begin 0L

            while tally.Answered < sent && elapsed () < ending + grace do
                poll (ending + grace - elapsed ()) finished

            tally, sent)

    interface IDisposable with
        member _.Dispose() =
            for connection in all do
                (connection :> IDisposable).Dispose()

            (epoll :> IDisposable).Dispose()
