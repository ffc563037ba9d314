namespace K8sReq.Core

open System

/// Where the program is between its start and its end.
[<RequireQualifiedAccess>]
type LifecyclePhase =
    /// Its ports are being bound.
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
    | PortsBound
    | BindFailed
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
    /// Whether it ends because it could not do its work.
    HasFailed: bool
} with

    /// 0: stopped as asked. 1: it could not go on.
    member state.ExitCode = if state.HasFailed then 1 else 0

/// Start and stop as a pure state machine.
module Lifecycle =
    let initial: LifecycleState = {
        Phase = LifecyclePhase.Starting
        HasFailed = false
    }

    let private leave (delay: TimeSpan) (hasFailed: bool) =
        if delay > TimeSpan.Zero then
            {
                Phase = LifecyclePhase.Leaving
                HasFailed = hasFailed
            },
            LifecycleAction.Leave delay
        else
            {
                Phase = LifecyclePhase.Closing
                HasFailed = hasFailed
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
        | LifecyclePhase.Starting, LifecycleSignal.PortsBound ->
            at LifecyclePhase.WaitingForRoutes, LifecycleAction.Follow
        | LifecyclePhase.Starting, LifecycleSignal.BindFailed ->
            {
                Phase = LifecyclePhase.Stopped
                HasFailed = true
            },
            LifecycleAction.Release
        | LifecyclePhase.Starting, LifecycleSignal.StopRequested ->
            at LifecyclePhase.Stopped, LifecycleAction.Release
        | LifecyclePhase.WaitingForRoutes, LifecycleSignal.RoutesKnown ->
            at LifecyclePhase.Serving, LifecycleAction.Nothing
        // It was never ready: nobody has to notice that it goes.
        | LifecyclePhase.WaitingForRoutes, LifecycleSignal.StopRequested -> leave TimeSpan.Zero false
        | LifecyclePhase.WaitingForRoutes, LifecycleSignal.PartFailed -> leave TimeSpan.Zero true
        | LifecyclePhase.Serving, LifecycleSignal.StopRequested -> leave delay false
        | LifecyclePhase.Serving, LifecycleSignal.PartFailed -> leave delay true
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
