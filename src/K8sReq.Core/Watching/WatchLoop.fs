namespace K8sReq.Core

open System

[<RequireQualifiedAccess>]
type private WatchPhase =
    | Listing
    | Watching
    | Resting

type WatchState<'T> = private {
    Phase: WatchPhase
    /// The version to watch from; None if there is nothing to go on from.
    Version: string option
    /// The pages of the list so far, the last one first.
    Pages: 'T list list
    ListedAt: TimeSpan
    /// Failures since something worked.
    Failures: int
    /// Expiries since a watch worked: a list that succeeds says nothing about the next watch.
    Expiries: int
    Told: WatchFault option
    /// Since when the server has answered without a break that it does not know the kind.
    UnknownSince: TimeSpan option
    /// That nothing is left of the kind has been told.
    IsGone: bool
}

/// A list and watch of one kind in one scope as a pure state machine: from a signal and the time to what to do.
module WatchLoop =
    /// The number of failures in a row after which the version is given up and everything is listed again.
    let failuresToRelist = 5

    /// After this time the end of a watch leads to a list: whatever was missed, and why ever, is found then.
    let relistInterval = TimeSpan.FromMinutes 30.0

    /// A server that starts does not know defined kinds for some seconds. One that says so for longer than this has no
    /// definition any more, and with a definition go all objects of its kind.
    let goneAfter = TimeSpan.FromSeconds 60.0

    let private longestPause = TimeSpan.FromSeconds 30.0

    let private pause failures jitter =
        Backoff.delay (TimeSpan.FromSeconds 1.0) longestPause failures jitter

    // Closed watches come back at once, but not all in the same moment.
    let private shortPause jitter =
        TimeSpan.FromMilliseconds(100.0 + 400.0 * jitter)

    let initial<'T> : WatchState<'T> = {
        Phase = WatchPhase.Resting
        Version = None
        Pages = []
        ListedAt = TimeSpan.Zero
        Failures = 0
        Expiries = 0
        Told = None
        UnknownSince = None
        IsGone = false
    }

    let private isSameKind (one: WatchFault) (other: WatchFault) =
        match one, other with
        | WatchFault.Unauthorized _, WatchFault.Unauthorized _
        | WatchFault.Forbidden _, WatchFault.Forbidden _
        | WatchFault.UnknownKind _, WatchFault.UnknownKind _
        | WatchFault.Untrusted _, WatchFault.Untrusted _
        | WatchFault.Unreachable _, WatchFault.Unreachable _ -> true
        | _ -> false

    let private resting (state: WatchState<'T>) time =
        {
            state with
                Phase = WatchPhase.Resting
        },
        [ WatchAction.Rest time ]

    let private goOn (state: WatchState<'T>) =
        match state.Version with
        | Some version ->
            {
                state with
                    Phase = WatchPhase.Watching
            },
            [ WatchAction.Watch version ]
        | None ->
            {
                state with
                    Phase = WatchPhase.Listing
                    Pages = []
            },
            [ WatchAction.List None ]

    let private recovered (state: WatchState<'T>) =
        let told =
            if state.Told.IsSome then
                [ WatchAction.TellRecovered ]
            else
                []

        {
            state with
                Failures = 0
                Told = None
                UnknownSince = None
                IsGone = false
        },
        told

    // Something came from a watch: it works.
    let private progressed version (state: WatchState<'T>) action =
        let state, told = recovered { state with Expiries = 0 }

        {
            state with
                // Bookmarks without a version are met in the wild; they say nothing.
                Version = if version = "" then state.Version else Some version
        },
        told @ action

    let private withVersionGivenUp state = {
        state with
            Version = None
            Pages = []
    }

    let private failed jitter now fault (state: WatchState<'T>) =
        let unknownSince =
            match fault with
            | WatchFault.UnknownKind _ -> Some(defaultArg state.UnknownSince now)
            | WatchFault.Unauthorized _
            | WatchFault.Forbidden _
            | WatchFault.Untrusted _
            | WatchFault.Unreachable _ -> None

        let isGone = unknownSince |> Option.exists (fun since -> now - since >= goneAfter)

        // Only where there was something: of a kind that has never been listed nothing is known to be gone.
        let gone =
            if isGone && not state.IsGone && state.ListedAt > TimeSpan.Zero then
                [ WatchAction.EmitListed [] ]
            else
                []

        let failures = state.Failures + 1
        let isNew = not (state.Told |> Option.exists (isSameKind fault))

        let renew =
            match fault with
            | WatchFault.Unauthorized _
            | WatchFault.Untrusted _ -> [ WatchAction.Renew ]
            | WatchFault.Forbidden _
            | WatchFault.UnknownKind _
            | WatchFault.Unreachable _ -> []

        // A list that broke off begins again; so does a watch that does not come about.
        let kept =
            if state.Phase = WatchPhase.Listing || failures % failuresToRelist = 0 then
                withVersionGivenUp state
            else
                state

        let resting, rest =
            resting
                {
                    kept with
                        Failures = failures
                        Told = Some fault
                        UnknownSince = unknownSince
                        IsGone = isGone
                }
                (pause failures jitter)

        resting, (if isNew then [ WatchAction.Tell fault ] else []) @ gone @ renew @ rest

    let private ended jitter now reason (state: WatchState<'T>) =
        match reason with
        | WatchEnd.Closed
        | WatchEnd.Idle ->
            let state, told =
                match reason with
                | WatchEnd.Closed when state.Phase = WatchPhase.Watching -> recovered state
                | _ -> state, []

            let kept =
                if state.Phase = WatchPhase.Listing || now - state.ListedAt >= relistInterval then
                    withVersionGivenUp state
                else
                    state

            let state, rest = resting kept (shortPause jitter)
            state, told @ rest
        | WatchEnd.Expired ->
            let expiries = state.Expiries + 1

            let time =
                if expiries = 1 then
                    shortPause jitter
                else
                    pause expiries jitter

            resting
                {
                    withVersionGivenUp state with
                        Expiries = expiries
                }
                time
        | WatchEnd.Throttled wanted ->
            let failures = state.Failures + 1

            let kept =
                if state.Phase = WatchPhase.Listing then
                    withVersionGivenUp state
                else
                    state

            let time =
                wanted
                |> Option.map (fun time -> min (2.0 * longestPause) time)
                |> Option.defaultValue TimeSpan.Zero
                |> max (pause failures jitter)

            resting { kept with Failures = failures } time
        | WatchEnd.Failed fault -> failed jitter now fault state

    /// `jitter` is from 0 to 1, another one each time; `now` is a time that only grows. A signal that does not belong
    /// to what is being done changes nothing.
    let step
        (jitter: float)
        (now: TimeSpan)
        (state: WatchState<'T>)
        (signal: WatchSignal<'T>)
        : WatchState<'T> * WatchAction<'T> list =
        match state.Phase, signal with
        | WatchPhase.Resting, (WatchSignal.Started | WatchSignal.Rested) -> goOn state
        | WatchPhase.Listing, WatchSignal.Page(items, _, Some next) ->
            {
                state with
                    Pages = items :: state.Pages
            },
            [ WatchAction.List(Some next) ]
        | WatchPhase.Listing, WatchSignal.Page(items, version, None) ->
            let complete = List.concat (List.rev (items :: state.Pages))

            let state, told =
                recovered {
                    state with
                        Version = Some version
                        Pages = []
                        ListedAt = now
                }

            let watching, watch = goOn state
            watching, told @ [ WatchAction.EmitListed complete ] @ watch
        | WatchPhase.Watching, WatchSignal.Applied(item, version) ->
            progressed version state [ WatchAction.EmitApplied item ]
        | WatchPhase.Watching, WatchSignal.Deleted(key, version) ->
            progressed version state [ WatchAction.EmitDeleted key ]
        | WatchPhase.Watching, WatchSignal.Bookmark version -> progressed version state []
        | (WatchPhase.Listing | WatchPhase.Watching), WatchSignal.Ended reason ->
            ended jitter now reason state
        | WatchPhase.Listing,
          (WatchSignal.Started | WatchSignal.Applied _ | WatchSignal.Deleted _ | WatchSignal.Bookmark _ | WatchSignal.Rested)
        | WatchPhase.Watching, (WatchSignal.Started | WatchSignal.Page _ | WatchSignal.Rested)
        | WatchPhase.Resting,
          (WatchSignal.Page _ | WatchSignal.Applied _ | WatchSignal.Deleted _ | WatchSignal.Bookmark _ | WatchSignal.Ended _) ->
            state, []
