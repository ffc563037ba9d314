namespace K8sReq.Host.Sources.Kubernetes

open System
open System.Collections.Generic
open System.Text
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open k8s
open k8s.Models
open K8sReq.Core
open K8sReq.Host
open K8sReq.Host.Telemetry
open K8sReq.Host.Sources

/// Writes the condition `Ready` of RequestClones, and an event where it becomes another one, for as long as it leads.
/// What could not be written is planned again later: nothing is queued for long that may be out of date.
[<Sealed>]
type StatusWriter
    (
        logger: ILogger,
        clock: TimeProvider,
        metrics: SourceMetrics,
        connection: KubernetesConnection,
        concurrency: int,
        // The program, as events name who reports.
        identity: string
    ) =
    // What has been written is not written again before its echo can have come back, nor over and over against
    // somebody else who writes something different.
    let sameAgain = TimeSpan.FromSeconds 10.0
    // What was left undone, for whatever reason, is planned anew after this time.
    let replanInterval = TimeSpan.FromSeconds 15.0
    let gate = Lock()
    let mutable clones: Map<ObjectKey, ResolvedClone> = Map.empty
    let mutable isLeading = false
    let mutable failures = 0
    let work = new SemaphoreSlim(0)
    let touched = HashSet<ObjectKey>()
    let written = Dictionary<ObjectKey, struct (Readiness * int64 * string * int64)>()

    let toldRefused = HashSet<ObjectKey>()

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

    // What has to be written now: of those that have been touched, or of all.
    let plan all =
        lock gate (fun () ->
            let keys =
                if all then
                    List.ofSeq (Map.keys clones)
                else
                    List.ofSeq touched

            touched.Clear()

            if not isLeading then
                []
            else
                let now = clock.GetUtcNow()

                keys
                |> List.choose (fun key ->
                    match clones.TryGetValue key with
                    | true, resolved -> Conditions.plan now resolved |> Option.filter (isFresh >> not)
                    | false, _ ->
                        written.Remove key |> ignore
                        None))

    let timestamp (time: DateTimeOffset) =
        time.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ssZ"

    let text (value: string) : JsonNode = nonNull (JsonValue.Create value)

    let fields (named: (string * JsonNode) list) : JsonNode =
        let node = JsonObject()

        for name, value in named do
            node.Add(name, value)

        node

    // Node by node: a program that is compiled ahead of time cannot read the properties of a record when it runs.
    let bodyOf (patch: StatusPatch) : JsonNode =
        fields [
            "apiVersion", text Decode.ApiVersion
            "kind", text "RequestClone"
            "metadata",
            fields [
                "name", text patch.Key.Name
                "namespace", text patch.Key.Namespace
                // Of another object of the same name nothing is known.
                "uid", text patch.Uid
            ]
            "status",
            fields [
                "conditions",
                JsonArray(
                    fields [
                        "type", text "Ready"
                        "status", text (if patch.Readiness.IsReady then "True" else "False")
                        "reason", text patch.Readiness.Reason
                        "message", text patch.Readiness.Message
                        "observedGeneration", JsonValue.Create patch.ObservedGeneration
                        "lastTransitionTime", text (timestamp patch.LastTransition)
                    ]
                )
            ]
        ]

    let writeStatus (client: IKubernetes) (patch: StatusPatch) stop : Task = task {
        let! _ =
            client.CustomObjects.PatchNamespacedCustomObjectStatusAsync(
                V1Patch(bodyOf patch, V1Patch.PatchType.ApplyPatch),
                Decode.Group,
                Decode.Version,
                patch.Key.Namespace,
                Decode.Plural,
                patch.Key.Name,
                fieldManager = "k8sreq",
                force = Nullable true,
                cancellationToken = stop
            )

        return ()
    }

    // The API server takes 1,024 bytes, not characters; a character has three at most.
    let noteOf (message: string) =
        let longest =
            if Encoding.UTF8.GetByteCount message = message.Length then
                1024
            else
                341

        message.Substring(0, min longest message.Length)

    let writeEvent (client: IKubernetes) (patch: StatusPatch) stop : Task = task {
        let event =
            Eventsv1Event(
                Metadata =
                    V1ObjectMeta(GenerateName = patch.Key.Name + ".", NamespaceProperty = patch.Key.Namespace),
                EventTime = clock.GetUtcNow().UtcDateTime,
                ReportingController = "k8sreq-duplicator-controller",
                ReportingInstance = identity.Substring(0, min 128 identity.Length),
                Action = "Route",
                Reason = patch.Readiness.Reason,
                Note = noteOf patch.Readiness.Message,
                Type = (if patch.Readiness.IsReady then "Normal" else "Warning"),
                Regarding =
                    V1ObjectReference(
                        ApiVersion = Decode.ApiVersion,
                        Kind = "RequestClone",
                        Name = patch.Key.Name,
                        NamespaceProperty = patch.Key.Namespace,
                        Uid = patch.Uid
                    )
            )

        let! _ =
            client.EventsV1.CreateNamespacedEventAsync(event, patch.Key.Namespace, cancellationToken = stop)

        return ()
    }

    let remember (patch: StatusPatch) =
        lock gate (fun () ->
            toldRefused.Remove patch.Key |> ignore

            written[patch.Key] <-
                struct (patch.Readiness, patch.ObservedGeneration, patch.Uid, clock.GetTimestamp()))

    // Said once for each, until it is written: an object that a newer schema does not take is not taken the next time.
    let refused (patch: StatusPatch) (error: exn) =
        if lock gate (fun () -> toldRefused.Add patch.Key) then
            Log.statusNotWritten logger (string patch.Key) (ApiFailure.describe error)

    // The first failure of several in a row is told of, and what is left of the round is left for the next one: what
    // stands in the way of one write does so for all.
    let failed (client: IKubernetes) (patch: StatusPatch) (error: exn) =
        if Interlocked.Increment &failures = 1 then
            Log.statusNotWritten logger (string patch.Key) (ApiFailure.describe error)

        if ApiFailure.tryStatus error = Some 401 then
            try
                connection.Renew client
            with error ->
                Log.credentialsNotRenewed logger error.Message

    let write (patch: StatusPatch) (stop: CancellationToken) = task {
        let client = connection.Client

        try
            do! writeStatus client patch stop
            Volatile.Write(&failures, 0)
            metrics.Wrote "written"
            remember patch

            if patch.IsTransition then
                try
                    do! writeEvent client patch stop
                with error when not stop.IsCancellationRequested ->
                    Log.eventNotWritten logger (string patch.Key) (ApiFailure.describe error)
        with error when not stop.IsCancellationRequested ->
            match ApiFailure.tryStatus error with
            // Gone, or another object by now: the watch will say so.
            | Some(404 | 409) -> metrics.Wrote "outdated"
            | Some 422 ->
                metrics.Wrote "refused"
                refused patch error
            | _ ->
                metrics.Wrote "failed"
                failed client patch error
    }

    let leaveForLater (patch: StatusPatch) =
        lock gate (fun () -> touched.Add patch.Key |> ignore)

    let writeUnlessFailing (patch: StatusPatch) stop : Task = task {
        if Volatile.Read &failures = 0 then
            do! write patch stop

        if Volatile.Read &failures > 0 then
            leaveForLater patch
    }

    /// What is so now, and which RequestClones have changed, or whose Services have.
    member _.Update(now: Map<ObjectKey, ResolvedClone>, changed: ObjectKey seq) =
        lock gate (fun () ->
            clones <- now
            touched.UnionWith changed)

        wake ()

    /// Whether this replica is the one that writes. Who becomes it plans everything anew.
    member _.SetLeading(leads: bool) =
        lock gate (fun () ->
            isLeading <- leads
            written.Clear()

            if leads then
                touched.UnionWith(Map.keys clones))

        wake ()

    /// Writes until the token says stop.
    member _.RunAsync(stop: CancellationToken) : Task = task {
        try
            let mutable failedRounds = 0

            while not stop.IsCancellationRequested do
                if failedRounds > 0 then
                    let pause =
                        Backoff.delay
                            (TimeSpan.FromSeconds 1.0)
                            (TimeSpan.FromSeconds 30.0)
                            failedRounds
                            (Random.Shared.NextDouble())

                    do! Task.Delay(pause, clock, stop)
                    wake ()

                let! isWoken = work.WaitAsync(replanInterval, stop)
                let patches = plan (not isWoken)
                Volatile.Write(&failures, 0)

                let options =
                    ParallelOptions(MaxDegreeOfParallelism = concurrency, CancellationToken = stop)

                do!
                    Parallel.ForEachAsync(
                        patches,
                        options,
                        Func<_, _, _>(fun patch stop -> ValueTask(writeUnlessFailing patch stop))
                    )

                failedRounds <- if failures > 0 then failedRounds + 1 else 0
        with :? OperationCanceledException when stop.IsCancellationRequested ->
            ()
    }
