namespace K8sReq.Kubernetes

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open k8s
open K8sReq.Core
open K8sReq.Proxy

/// Writes the condition `Ready` of RequestClones, and an event where it becomes another one, for as long as it leads.
///
/// A status that is refused waits for its own next attempt (`StatusRetry`) and holds up nobody else's. When the API server
/// does not work, all wait: what stands in the way of one write does so for all.
[<Sealed>]
type StatusWriter
    (
        logger: ILogger,
        clock: TimeProvider,
        metrics: SourceMetrics,
        connection: KubernetesConnection,
        // Whose statuses these are.
        kind: KindName,
        concurrency: int,
        // The selector of RequestClones; empty for all.
        selector: string,
        // The program, as events name who reports.
        identity: string
    ) =
    // What has been written is not written again before its echo can have come back, nor over and over against
    // somebody else who writes something different.
    let sameAgain = TimeSpan.FromSeconds 10.0
    // All are planned again after this time, however much happens meanwhile: what was left undone is found then.
    let replanInterval = TimeSpan.FromSeconds 15.0
    // A server that asks for more time than this is asked again all the same.
    let longestRetryAfter = TimeSpan.FromSeconds 60.0
    // Of refused statuses at most so many are logged in so much time: all of them are refused where a role is missing.
    let mostRefusalsLogged = 10
    let refusalWindow = TimeSpan.FromMinutes 1.0
    // Guards everything below but `work`: routes change, leadership changes, and several statuses are written at once. A
    // RequestClone that is to be planned again is in `touched`, one whose write was refused in `held`.
    let gate = Lock()
    let mutable clones: Map<ObjectKey, ResolvedClone> = Map.empty
    let mutable isLeading = false
    let work = new SemaphoreSlim(0)
    let touched = HashSet<ObjectKey>()
    let written = Dictionary<ObjectKey, struct (Readiness * int64 * string * int64)>()
    // What is left to be said of those that are gone, or not selected any more.
    let lastStatuses = Dictionary<ObjectKey, StatusPatch>()
    let mutable held: Map<ObjectKey, HeldStatus> = Map.empty
    let mutable refusals = LogRateLimit.fresh
    let mutable plannedAll = TimeSpan.Zero

    // Of the round that is under way: how often the server has failed, and for how long it asks to be left alone.
    let mutable failures = 0
    // How often it has answered what it was asked.
    let mutable answers = 0
    let mutable askedFor = TimeSpan.Zero

    let now () = clock.GetElapsedTime 0L

    let wake () =
        if work.CurrentCount = 0 then
            work.Release() |> ignore

    let isFresh (patch: StatusPatch) =
        match written.TryGetValue patch.Key with
        | true, struct (readiness, generation, uid, at) ->
            readiness = patch.Readiness
            && generation = patch.ObservedGeneration
            && uid = patch.Uid
            && clock.GetElapsedTime at < sameAgain
        | false, _ -> false

    let forget key =
        written.Remove key |> ignore
        held <- held.Remove key

    // What has to be written now: of those that have been touched or have waited long enough, or of all.
    let plan () =
        exclusively gate (fun () ->
            let time = now ()
            let isTimeForAll = time - plannedAll >= replanInterval

            let keys =
                if isTimeForAll then
                    plannedAll <- time
                    List.ofSeq (Map.keys clones)
                else
                    touched.UnionWith(StatusRetry.due time held)
                    List.ofSeq touched

            touched.Clear()

            if not isLeading then
                lastStatuses.Clear()
                []
            else
                let at = clock.GetUtcNow()

                let changed =
                    keys
                    |> List.choose (fun key ->
                        match clones.TryGetValue key with
                        | false, _ ->
                            forget key
                            None
                        | true, resolved ->
                            match Conditions.plan at resolved with
                            | None ->
                                held <- held.Remove key
                                None
                            | Some patch when isFresh patch || StatusRetry.isHeld time held patch -> None
                            | Some patch -> Some patch)

                let waiting, last =
                    List.ofSeq lastStatuses.Values |> List.partition (StatusRetry.isHeld time held)

                lastStatuses.Clear()

                for patch in waiting do
                    lastStatuses[patch.Key] <- patch

                last @ changed)

    // Until something is to be done without anybody waking the loop.
    let longestRest () =
        exclusively gate (fun () ->
            let time = now ()
            let toReplan = max TimeSpan.Zero (plannedAll + replanInterval - time)

            match StatusRetry.nextDue time held with
            | Some toRetry when isLeading -> min toReplan toRetry
            | Some _
            | None -> toReplan)

    let remember (patch: StatusPatch) =
        exclusively gate (fun () ->
            held <- held.Remove patch.Key

            written[patch.Key] <-
                struct (patch.Readiness, patch.ObservedGeneration, patch.Uid, clock.GetTimestamp()))

    // To be written in a later round, of this one or of what is so then.
    let postpone (patch: StatusPatch) =
        exclusively gate (fun () ->
            if clones.ContainsKey patch.Key then
                touched.Add patch.Key |> ignore
            else
                // Nobody plans the last words on one that is gone a second time.
                lastStatuses.TryAdd(patch.Key, patch) |> ignore)

    // Whether this status fails for the first time.
    let hold (patch: StatusPatch) (failure: StatusFailure) =
        exclusively gate (fun () ->
            let after, isFirst =
                StatusRetry.failed (Random.Shared.NextDouble()) (now ()) failure patch held

            held <- after
            isFirst)

    // Logged once for each status: an object that a newer schema does not take is not taken the next time.
    let refused (patch: StatusPatch) (error: exn) =
        if hold patch StatusFailure.OfObject then
            let struct (isLogged, omitted) =
                exclusively gate (fun () ->
                    let struct (window, isLogged, omitted) =
                        LogRateLimit.offer mostRefusalsLogged refusalWindow (now ()) refusals

                    refusals <- window
                    struct (isLogged, omitted))

            if omitted > 0L then
                KubernetesLog.refusalsNotLogged logger omitted

            if isLogged then
                KubernetesLog.statusRefused logger (string patch.Key) (ApiFailure.describe error)

    // The first failure of several in a row is logged. The status itself waits as well: a server may fail over it alone,
    // as it does when an admission webhook is broken.
    let serverFailed
        (client: IKubernetes)
        (patch: StatusPatch)
        (wait: TimeSpan option)
        (error: exn)
        isFirstRound
        =
        hold patch (StatusFailure.OfServer wait) |> ignore
        postpone patch

        if Interlocked.Increment &failures = 1 && isFirstRound then
            KubernetesLog.statusNotWritten logger (string patch.Key) (ApiFailure.describe error)

        match wait with
        | Some wait -> exclusively gate (fun () -> askedFor <- max askedFor (min wait longestRetryAfter))
        | None -> ()

        if ApiFailure.needsRenewal error then
            try
                connection.Renew client
            with error ->
                KubernetesLog.credentialsNotRenewed logger error.Message

    let write (patch: StatusPatch) isFirstRound (stop: CancellationToken) = task {
        let client = connection.Client

        try
            do! StatusRequests.writeStatus client kind patch stop
            Interlocked.Increment &answers |> ignore
            metrics.Wrote "written"
            remember patch

            if patch.IsTransition then
                try
                    do! StatusRequests.writeEvent client (clock.GetUtcNow()) identity kind patch stop
                with error when not stop.IsCancellationRequested ->
                    KubernetesLog.eventNotWritten logger (string patch.Key) (ApiFailure.describe error)
        with error when not stop.IsCancellationRequested ->
            match ApiFailure.ofWrite error with
            | StatusFailure.OfObject ->
                Interlocked.Increment &answers |> ignore

                match ApiFailure.tryStatus error with
                // Gone, or another object by now: the watch will say so.
                | Some(404 | 409) ->
                    metrics.Wrote "outdated"
                    hold patch StatusFailure.OfObject |> ignore
                | _ ->
                    metrics.Wrote "refused"
                    refused patch error
            | StatusFailure.OfServer wait ->
                metrics.Wrote "failed"
                serverFailed client patch wait error isFirstRound
    }

    let writeUnlessFailing (patch: StatusPatch) isFirstRound stop : Task = task {
        if Volatile.Read &failures = 0 then
            do! write patch isFirstRound stop
        else
            postpone patch
    }

    /// What is so now, and which RequestClones have changed, or whose Services have.
    member _.Update(now: Map<ObjectKey, ResolvedClone>, changed: ObjectKey seq) =
        exclusively gate (fun () ->
            if selector <> "" then
                let at = clock.GetUtcNow()

                for key in changed do
                    match clones.TryFind key with
                    | Some last when not (now.ContainsKey key) ->
                        Conditions.notSelected at selector last
                        |> Option.iter (fun patch -> lastStatuses[key] <- patch)
                    | _ -> lastStatuses.Remove key |> ignore

            clones <- now
            touched.UnionWith changed)

        wake ()

    /// Whether this replica is the one that writes. The one that becomes it plans everything again.
    member _.SetLeading(leads: bool) =
        exclusively gate (fun () ->
            isLeading <- leads
            written.Clear()
            held <- Map.empty

            if leads then
                touched.UnionWith(Map.keys clones))

        wake ()

    /// Writes until the token says stop.
    member _.RunAsync(stop: CancellationToken) : Task = task {
        try
            let mutable failedRounds = 0

            while not stop.IsCancellationRequested do
                if failedRounds > 0 then
                    let backoff =
                        Backoff.delay
                            (TimeSpan.FromSeconds 1.0)
                            (TimeSpan.FromSeconds 30.0)
                            failedRounds
                            (Random.Shared.NextDouble())

                    do! Task.Delay(max backoff askedFor, clock, stop)
                    wake ()

                let! _ = work.WaitAsync(longestRest (), stop)
                let patches = plan ()
                Volatile.Write(&failures, 0)
                Volatile.Write(&answers, 0)
                askedFor <- TimeSpan.Zero
                let isFirstRound = failedRounds = 0

                let options =
                    ParallelOptions(MaxDegreeOfParallelism = concurrency, CancellationToken = stop)

                do!
                    Parallel.ForEachAsync(
                        patches,
                        options,
                        Func<_, _, _>(fun patch stop -> ValueTask(writeUnlessFailing patch isFirstRound stop))
                    )

                failedRounds <-
                    if failures > 0 then
                        failedRounds + 1
                    elif answers > 0 then
                        0
                    // Nothing was asked.
                    else
                        failedRounds
        with :? OperationCanceledException when stop.IsCancellationRequested ->
            ()
    }
