namespace K8sReq.Proxy

open System
open System.Collections.Generic
open System.Net.Sockets
open System.Threading
open K8sReq.Core

/// How connections to targets are made and kept.
type ConnectionLimits = {
    Timeouts: SendTimeouts
    /// A connection is closed between two exchanges once it is this old, give or take: behind a Service's address each
    /// connection leads to one pod, and only a new one follows the Service. Zero for no limit.
    MaxAge: TimeSpan
}

/// Makes a connection of this owner that is used until then on the clock. Throws a `SocketException` where it cannot.
type ConnectionMaker = delegate of owner: ConnectionOwner * retiresAt: TimeSpan -> TargetConnection

/// A connection over which nothing is sent. An array of these takes what it is given; one of `TargetConnection` asks it for its
/// type first, which may be another than its own, and a connection becomes idle with each copy.
[<Struct; NoEquality; NoComparison>]
type internal IdleConnection = { Connection: TargetConnection }

/// What a pool tells of itself. Called outside of its lock.
type PoolEvents = {
    /// It has no connection any more and makes none: another pool takes its place.
    Retired: TargetPool -> unit
    /// An attempt that has to be sent over a connection of another pool, for this one has retired.
    Resend: Attempt -> unit
}

/// The connections to one address. From many threads at once.
///
/// Mostly the one that was used last is used next. Every fourth send takes the sixteenth of those that were used last instead, or the
/// last of them if there are fewer: behind one address are several pods, and the last one used is always the same pod's. The others
/// are left idle until they end: a burst may leave hundreds, and what nobody has used for a while costs more to use, here and in the
/// system.
and [<Sealed>] TargetPool(clock: TimeProvider, maxAge: TimeSpan, make: ConnectionMaker, events: PoolEvents) =
    inherit ConnectionOwner()

    // Of the idle connections, so many take turns.
    static let mostInTurn = 16

    // Guards everything below: `idle` is a part of `all`, and neither has a connection that was reported closed. No
    // connection is called with it held.
    let gate = Lock()
    let all = HashSet<TargetConnection>()
    let idle = List<IdleConnection>()
    let mutable sends = 0
    let mutable isClosing = false
    // All attempts are given up, those that are still to come as well.
    let mutable isCancelled = false
    // It was empty: no connection is made any more, so that nobody has to look for one that no directory knows.
    let mutable isRetired = false

    // Connections that are made together are not closed together.
    let retiresAt () =
        if maxAge = TimeSpan.Zero then
            TimeSpan.MaxValue
        else
            clock.GetElapsedTime 0L + maxAge * (0.75 + 0.25 * Random.Shared.NextDouble())

    // To be called under the lock: null where none is idle.
    let tryTakeIdle () : TargetConnection | null =
        sends <- sends + 1
        // Without an age limit, those that are not needed any more have to grow idle to be closed. Ticks: F# compares spans of time
        // as objects.
        let isNextsTurn = sends % 4 = 0 && maxAge.Ticks > 0L

        if idle.Count = 0 then
            null
        else
            let index =
                if isNextsTurn then
                    max 0 (idle.Count - mostInTurn)
                else
                    idle.Count - 1

            let taken = idle[index]
            idle.RemoveAt index
            taken.Connection

    // To be called under the lock.
    let forgetIdle (connection: TargetConnection) =
        let index =
            idle.FindLastIndex(fun known -> Object.ReferenceEquals(known.Connection, connection))

        if index >= 0 then
            idle.RemoveAt index

    // A connection that was made while others were cancelled is cancelled by who made it.
    let cancelIfLate (connection: TargetConnection) =
        if Volatile.Read &isCancelled then
            connection.Cancel()

    // To be called under the lock: a new connection, which belongs to the pool from here on.
    let create (pool: ConnectionOwner) =
        try
            let connection = make.Invoke(pool, retiresAt ())
            all.Add connection |> ignore
            Ok connection
        // The process has no descriptor left for it.
        with :? SocketException as error ->
            Error(TargetOutcome.ConnectFailed error.Message)

    let connect (attempt: Attempt) (made: Result<TargetConnection, TargetOutcome>) =
        match made with
        | Ok connection ->
            connection.Connect attempt
            cancelIfLate connection
        | Error outcome -> attempt.Complete(SendResult.ofOutcome outcome)

    // A new connection, or why there is none; ValueNone if the pool has retired.
    member private pool.TryCreate() : Result<TargetConnection, TargetOutcome> voption =
        exclusively gate (fun () -> if isRetired then ValueNone else ValueSome(create pool))

    /// Sends over a connection that is idle, or over a new one. False if the pool has retired.
    member pool.TrySend(attempt: Attempt) : bool =
        let mutable isSent = false
        let mutable isOver = false

        while not (isSent || isOver) do
            match exclusively gate (fun () -> tryTakeIdle ()) with
            | null ->
                isOver <- true

                match pool.TryCreate() with
                | ValueSome made ->
                    connect attempt made
                    isSent <- true
                | ValueNone -> ()
            | connection ->
                if connection.TryBegin attempt then
                    cancelIfLate connection
                    isSent <- true

        isSent

    /// Gives up the attempts that are under way, and all that come later.
    member _.Cancel() : unit =
        let connections =
            exclusively gate (fun () ->
                isCancelled <- true
                Array.ofSeq all)

        for connection in connections do
            connection.Cancel()

    /// Closes what is idle, and what will be.
    member _.Close() : unit =
        exclusively gate (fun () -> isClosing <- true)

        for connection in exclusively gate (fun () -> Array.ofSeq all) do
            connection.CloseUnlessBusy()

    override _.Returned connection =
        let isKept =
            exclusively gate (fun () ->
                if not isClosing then
                    idle.Add { Connection = connection }

                not isClosing)

        // It may have ended before it was here to be taken away.
        if not isKept then
            connection.CloseUnlessBusy()
        elif connection.IsClosed then
            exclusively gate (fun () -> forgetIdle connection)

    override pool.Closed connection =
        let isEmpty =
            exclusively gate (fun () ->
                all.Remove connection |> ignore
                forgetIdle connection

                if all.Count = 0 then
                    isRetired <- true

                all.Count = 0)

        if isEmpty then
            events.Retired pool

    override pool.Ended(attempt, result, mayRepeat) =
        // Once more, over a connection that nobody has used: part of the same attempt, for the target had nothing of it.
        if not mayRepeat then
            attempt.Complete result
        else
            match pool.TryCreate() with
            | ValueSome made -> connect attempt made
            | ValueNone -> events.Resend attempt
