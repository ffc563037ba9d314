namespace K8sReq.Journal

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Proxy

/// What became of dead letters that were sent to sinks.
type SinkTotals = {
    Sent: int64
    /// The sink does not want it (4xx): it is not sent there again.
    Refused: int64
    /// Attempts that are repeated.
    Failed: int64
}

/// Sends the dead letters of RequestClones that want it to their sinks as well. They stay in the journal, whatever becomes of
/// that: a sink that is away gets them when it is back, also after a restart. One at a time for each RequestClone.
[<Sealed>]
type DeadLetterSinks
    (
        clock: TimeProvider,
        store: JournalStore,
        client: TargetClient,
        // Where the dead letters of a RequestClone go now; None if nowhere.
        sinkOf: ObjectKey -> Target option,
        stop: CancellationToken,
        // Told of what should never happen: the letters are sent again later.
        unexpected: exn -> unit
    ) =
    let atOnce = 16
    let interval = TimeSpan.FromSeconds 1.0
    let firstWait = TimeSpan.FromSeconds 1.0
    let longestWait = TimeSpan.FromMinutes 5.0

    // Guards everything below: which RequestClones have letters to be sent, with the failures in a row and the time before which
    // nothing is tried, and those that are being sent.
    let gate = Lock()
    let waiting = Dictionary<ObjectKey, struct (int * int64)>()
    let running = HashSet<ObjectKey>()

    let sent = Counter()
    let refused = Counter()
    let failed = Counter()

    let requestOf (letter: UnsentLetter) =
        let identified =
            if letter.Letter.RequestId = Guid.Empty then
                HeadChange.none
            else
                CopyIdentity.change letter.Letter.RequestId (letter.Letter.Attempts + 1)

        let change =
            identified
            |> HeadChange.andThen (
                HeadChange.setting [|
                    struct ("K8sReq-Error-Code", letter.Code)
                    struct ("K8sReq-Error-Clone", string letter.Letter.Clone)
                |]
            )

        CapturedRequest.withHead change letter.Request

    // True if it need not be sent again.
    let send (sink: Target) (letter: UnsentLetter) : Task<bool> = task {
        let! result = client.Invoke(sink, requestOf letter).AsTask()

        match result.Outcome with
        | TargetOutcome.Delivered _ ->
            sent.Add 1L
            return true
        | outcome when
            DeadCause.ofOutcome outcome = Some DeadCause.Refused
            && not (RetryDecision.isRetried outcome)
            ->
            refused.Add 1L
            return true
        | _ ->
            failed.Add 1L
            return false
    }

    // Whether all that are there have been sent. None if the journal cannot be used.
    let sendSome (clone: ObjectKey) (sink: Target) : Task<bool option> = task {
        match! store.UnsentLetters(clone, atOnce) with
        | None -> return None
        | Some [] -> return Some true
        | Some letters ->
            let ended = ResizeArray<CopyId>()
            let mutable isGoing = true

            for letter in letters do
                if isGoing then
                    let! isEnded = send sink letter

                    if isEnded then
                        ended.Add letter.Letter.Id
                    else
                        isGoing <- false

            let! isWritten = store.SetSent(List.ofSeq ended)
            return if isGoing && isWritten.IsSome then Some false else None
    }

    let run (clone: ObjectKey) (sink: Target) (failures: int) : Task = task {
        let mutable isOver = false
        let mutable hasFailed = false

        try
            while not isOver do
                match! sendSome clone sink with
                | Some true -> isOver <- true
                | Some false -> isOver <- stop.IsCancellationRequested
                | None ->
                    hasFailed <- true
                    isOver <- true
        with error ->
            unexpected error
            hasFailed <- true

        exclusively gate (fun () ->
            running.Remove clone |> ignore

            if hasFailed then
                let wait = min longestWait (firstWait * (2.0 ** float (min failures 30)))

                waiting[clone] <-
                    struct (failures + 1,
                            clock.GetTimestamp()
                            + int64 (wait.TotalSeconds * float clock.TimestampFrequency)))
    }

    let look () =
        let now = clock.GetTimestamp()

        let news = store.Letters.TakeUnsent()

        let due =
            exclusively gate (fun () -> [
                for clone in news do
                    waiting.TryAdd(clone, struct (0, Int64.MinValue)) |> ignore

                for KeyValue(clone, struct (failures, notBefore)) in waiting do
                    if notBefore <= now && not (running.Contains clone) then
                        clone, failures
            ])

        for clone, failures in due do
            match sinkOf clone with
            // It has no sink now; it may have one again.
            | None -> ()
            | Some sink ->
                exclusively gate (fun () ->
                    waiting.Remove clone |> ignore
                    running.Add clone |> ignore)

                run clone sink failures |> ignore

    let onTime (_: obj | null) =
        if not stop.IsCancellationRequested then
            look ()

    let timer = clock.CreateTimer(TimerCallback onTime, null, interval, interval)

    member _.Totals = {
        Sent = sent.Value
        Refused = refused.Value
        Failed = failed.Value
    }

    interface IDisposable with
        member _.Dispose() = timer.Dispose()
