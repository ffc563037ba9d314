namespace K8sReq.Core

open System

/// Where the program is between its start and its end.
[<RequireQualifiedAccess>]
type LifecyclePhase =
    | Created
    /// The source of the routes is looked for, and ports are bound.
    | Starting
    /// The routes are not known yet: requests wait for them, and it is not ready.
    | WaitingForRoutes
    | Serving
    /// Unready, and serving on for a while, so that clients and load balancers notice that it is going.
    | Leaving
    /// No request is taken any more; those under way are answered.
    | Closing
    /// Accepted copies are finished.
    | Draining
    /// The shutdown timeout is over: what is left is cut off.
    | Abandoning
    /// Everything is given back.
    | Stopped

/// What comes about for the program.
[<RequireQualifiedAccess>]
type LifecycleSignal =
    | Launched
    | PortsBound
    /// There is no source of routes, or a port is taken; with the code that the process exits with.
    | StartFailed of exitCode: int
    | RoutesKnown
    /// SIGTERM or SIGINT. A second one ends the process at once and never gets here.
    | StopRequested
    /// A part ended that never should: the source of the routes, or what applies them.
    | PartFailed
    | DelayEnded
    | ListenerClosed
    | CopiesFinished
    | TimedOut

/// What is to be done.
[<RequireQualifiedAccess>]
type LifecycleAction =
    | Nothing
    /// Find the source of the routes, and bind the ports.
    | Start
    /// Begin to follow the routes.
    | Follow
    /// Become unready, refuse requests that wait for the routes, and go on serving for so long.
    | Leave of delay: TimeSpan
    /// Become unready, take no more requests, and answer those under way. The shutdown timeout begins.
    | Close
    | Drain
    | Abandon
    /// Give back everything that the program holds.
    | Release

type LifecycleState = {
    Phase: LifecyclePhase
    /// 0: stopped as asked. Another one: it could not start, or not go on.
    ExitCode: int
}

/// Start and stop as a pure state machine.
module Lifecycle =
    let initial: LifecycleState = {
        Phase = LifecyclePhase.Created
        ExitCode = 0
    }

    let private leave (delay: TimeSpan) (exitCode: int) =
        if delay > TimeSpan.Zero then
            {
                Phase = LifecyclePhase.Leaving
                ExitCode = exitCode
            },
            LifecycleAction.Leave delay
        else
            {
                Phase = LifecyclePhase.Closing
                ExitCode = exitCode
            },
            LifecycleAction.Close

    /// The state after a signal, and what is to be done. `delay` is how long to go on serving, unready, after being told to
    /// stop. A signal that does not belong to the phase changes nothing.
    let step
        (delay: TimeSpan)
        (state: LifecycleState)
        (signal: LifecycleSignal)
        : LifecycleState * LifecycleAction =
        let at phase = { state with Phase = phase }

        match state.Phase, signal with
        | LifecyclePhase.Created, LifecycleSignal.Launched ->
            at LifecyclePhase.Starting, LifecycleAction.Start
        | LifecyclePhase.Created, LifecycleSignal.StopRequested ->
            at LifecyclePhase.Stopped, LifecycleAction.Release
        | LifecyclePhase.Starting, LifecycleSignal.PortsBound ->
            at LifecyclePhase.WaitingForRoutes, LifecycleAction.Follow
        | LifecyclePhase.Starting, LifecycleSignal.StartFailed exitCode ->
            {
                Phase = LifecyclePhase.Stopped
                ExitCode = exitCode
            },
            LifecycleAction.Release
        // Nothing waits for a start that hangs, such as a program that gives credentials and does not end. What such a
        // start binds in the end is given back.
        | LifecyclePhase.Starting, LifecycleSignal.StopRequested ->
            at LifecyclePhase.Stopped, LifecycleAction.Release
        | LifecyclePhase.Stopped, LifecycleSignal.PortsBound -> state, LifecycleAction.Release
        | LifecyclePhase.WaitingForRoutes, LifecycleSignal.RoutesKnown ->
            at LifecyclePhase.Serving, LifecycleAction.Nothing
        // It was never ready: nobody has to notice that it goes.
        | LifecyclePhase.WaitingForRoutes, LifecycleSignal.StopRequested -> leave TimeSpan.Zero 0
        | LifecyclePhase.WaitingForRoutes, LifecycleSignal.PartFailed -> leave TimeSpan.Zero 1
        | LifecyclePhase.Serving, LifecycleSignal.StopRequested -> leave delay 0
        | LifecyclePhase.Serving, LifecycleSignal.PartFailed -> leave delay 1
        | LifecyclePhase.Leaving, LifecycleSignal.DelayEnded ->
            at LifecyclePhase.Closing, LifecycleAction.Close
        | LifecyclePhase.Closing, LifecycleSignal.ListenerClosed ->
            at LifecyclePhase.Draining, LifecycleAction.Drain
        | LifecyclePhase.Draining, LifecycleSignal.CopiesFinished ->
            at LifecyclePhase.Stopped, LifecycleAction.Release
        | LifecyclePhase.Draining, LifecycleSignal.TimedOut ->
            at LifecyclePhase.Abandoning, LifecycleAction.Abandon
        | LifecyclePhase.Abandoning, LifecycleSignal.CopiesFinished
        // A copy that does not end when it is told to is a defect, which is not to keep the process.
        | LifecyclePhase.Abandoning, LifecycleSignal.TimedOut ->
            at LifecyclePhase.Stopped, LifecycleAction.Release
        | _ -> state, LifecycleAction.Nothing
