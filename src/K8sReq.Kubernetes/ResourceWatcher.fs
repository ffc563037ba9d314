namespace K8sReq.Kubernetes

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

/// The times of a watch.
type WatchTimes = {
    Clock: TimeProvider
    /// From 0 to 1, another one each time.
    Jitter: unit -> float
    /// How long a watch is asked to last; up to a fifth is taken off, so that not all end at once.
    Longest: TimeSpan
    /// How much longer than that the server may be silent.
    Patience: TimeSpan
    /// How long a page of a list may take.
    Page: TimeSpan
}

module WatchTimes =
    let usual (clock: TimeProvider) = {
        Clock = clock
        Jitter = Random.Shared.NextDouble
        Longest = TimeSpan.FromSeconds 300.0
        Patience = TimeSpan.FromSeconds 10.0
        Page = TimeSpan.FromSeconds 60.0
    }

/// Does what `WatchLoop` says for one kind in one scope, for ever. Only the token ends it: what goes wrong is logged
/// and tried again.
[<Sealed>]
type ResourceWatcher<'T>
    (
        logger: ILogger,
        metrics: SourceMetrics,
        times: WatchTimes,
        connection: KubernetesConnection,
        api: ResourceApi<'T>,
        emit: WatchAction<'T> -> unit,
        // Called when this may not be read.
        denied: unit -> unit
    ) =
    let started = times.Clock.GetTimestamp()
    let mutable state = WatchLoop.initial<'T>

    let count (signal: WatchSignal<'T>) =
        match signal with
        | WatchSignal.Page(_, _, None)
        | WatchSignal.Applied _
        | WatchSignal.Deleted _
        | WatchSignal.Bookmark _ -> metrics.Synced api.Name
        | WatchSignal.Ended reason ->
            // A watch that ends normally has delivered every event.
            if reason = WatchEnd.Closed then
                metrics.Synced api.Name

            metrics.Restarted(WatchEnd.reason reason)
        | WatchSignal.Page(_, _, Some _)
        | WatchSignal.Started
        | WatchSignal.Rested -> ()

    let step signal =
        count signal

        let next, actions =
            WatchLoop.step (times.Jitter()) (times.Clock.GetElapsedTime started) state signal

        state <- next
        actions

    let renew (client: k8s.IKubernetes) =
        try
            connection.Renew client
        with error ->
            KubernetesLog.credentialsNotRenewed logger error.Message

    // Those actions that take no time; what is left is the one that does.
    let rec settle (client: k8s.IKubernetes) (actions: WatchAction<'T> list) : WatchAction<'T> option =
        match actions with
        | [] -> None
        | (WatchAction.EmitListed _ | WatchAction.EmitApplied _ | WatchAction.EmitDeleted _ as action) :: rest ->
            emit action
            settle client rest
        | WatchAction.Renew :: rest ->
            renew client
            settle client rest
        | WatchAction.Tell fault :: rest ->
            KubernetesLog.watchFault logger api.Name fault

            match fault with
            | WatchFault.Forbidden _ -> denied ()
            | WatchFault.Unauthorized _
            | WatchFault.UnknownKind _
            | WatchFault.Untrusted _
            | WatchFault.Unreachable _ -> ()

            settle client rest
        | WatchAction.TellRecovered :: rest ->
            KubernetesLog.watchRecovered logger api.Name
            settle client rest
        | (WatchAction.List _ | WatchAction.Watch _ | WatchAction.Rest _ as action) :: _ -> Some action

    let list (client: k8s.IKubernetes) page (stop: CancellationToken) = task {
        use limit = new CancellationTokenSource(times.Page, times.Clock)
        use ending = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stop)

        try
            let! page = api.Page client page ending.Token
            return WatchSignal.Page(page.Items, page.Version, page.Next)
        with error ->
            stop.ThrowIfCancellationRequested()

            return
                if limit.IsCancellationRequested then
                    WatchSignal.Ended(WatchEnd.Failed(WatchFault.Unreachable "no answer came in time"))
                else
                    WatchSignal.Ended(ApiFailure.toEnd error)
    }

    let watch (client: k8s.IKubernetes) version stop = task {
        let length = times.Longest * (1.0 - 0.2 * times.Jitter())

        let! reason =
            WatchStream.run
                times.Clock
                (length + times.Patience)
                (api.Watch client version (int length.TotalSeconds))
                (fun signal -> step signal |> settle client |> ignore)
                stop

        return WatchSignal.Ended reason
    }

    /// Runs until the token says stop.
    member _.RunAsync(stop: CancellationToken) : Task = task {
        let mutable client = connection.Client
        let mutable next = settle client (step WatchSignal.Started)

        while not stop.IsCancellationRequested do
            client <- connection.Client

            let! signal =
                match next with
                | Some(WatchAction.List page) -> list client page stop
                | Some(WatchAction.Watch version) -> watch client version stop
                | Some(WatchAction.Rest time) -> task {
                    do! Task.Delay(time, times.Clock, stop)
                    return WatchSignal.Rested
                  }
                | other -> failwith $"The watch of {api.Name} has nothing to do next: {other}"

            next <- settle client (step signal)
    }
