namespace K8sReq.Host.Admin.DeadLetters

open System
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Journal

/// Why nothing can be said of dead letters.
[<RequireQualifiedAccess>]
type DeadLetterError =
    /// There is no journal, so there are none.
    | NoJournal
    /// The journal cannot be read or written now.
    | Unavailable

/// What has become of dead letters that were to be replayed or dropped.
type DeadLetterChange = {
    Changed: int64
    /// As many more fit what was asked for: their RequestClone is not routed, the journal has no room for them, or the limit was
    /// reached.
    Left: int64
}

/// What people do with dead letters. Of many, so many at a time: what comes in meanwhile does not wait for all of them.
[<Sealed>]
type DeadLetterService(journal: JournalStore option, isRouted: ObjectKey -> bool) =
    let atOnce = 200

    let ask (question: JournalStore -> Task<'T option>) : Task<Result<'T, DeadLetterError>> = task {
        match journal with
        | None -> return Error DeadLetterError.NoJournal
        | Some journal ->
            match! question journal with
            | Some answer -> return Ok answer
            | None -> return Error DeadLetterError.Unavailable
    }

    let count (isCounted: ObjectKey -> bool) (filter: DeadLetterFilter) (journal: JournalStore) = task {
        let! counts = journal.CountDeadLetters filter

        return
            counts
            |> Option.map (fun counts ->
                counts
                |> List.sumBy (fun (clone, count) -> if isCounted clone then count else 0L))
    }

    // What fails again while the others are replayed is not replayed again.
    let untilNow (journal: JournalStore) (filter: DeadLetterFilter) = {
        filter with
            Until = Some(filter.Until |> Option.fold min journal.Now)
    }

    // `step` does it for as many as the filter's limit, and is told of how many it was done before.
    let change
        (filter: DeadLetterFilter)
        (step: JournalStore -> int64 -> DeadLetterFilter -> Task<int option>)
        =
        ask (fun journal -> task {
            let filter = untilNow journal filter
            let mutable changed = 0L
            let mutable isOver = false
            let mutable hasFailed = false

            while not isOver do
                let most = int (min (int64 atOnce) (int64 filter.Limit - changed))

                match! step journal changed { filter with Limit = most } with
                | Some count ->
                    changed <- changed + int64 count
                    isOver <- count < most || changed >= int64 filter.Limit
                | None ->
                    hasFailed <- true
                    isOver <- true

            let! left = count (fun _ -> true) filter journal

            // What was done is told, whatever came after.
            return
                match left with
                | Some left -> Some { Changed = changed; Left = left }
                | None when changed > 0L && not hasFailed -> Some { Changed = changed; Left = 0L }
                | None -> None
        })

    let wouldChange (filter: DeadLetterFilter) (isChanged: ObjectKey -> bool) =
        ask (fun journal -> task {
            let filter = untilNow journal filter
            let! counts = journal.CountDeadLetters filter

            return
                counts
                |> Option.map (fun counts ->
                    let sum = List.sumBy snd
                    let meant = counts |> List.filter (fst >> isChanged) |> sum
                    let changed = min meant (int64 filter.Limit)

                    {
                        Changed = changed
                        Left = sum counts - changed
                    })
        })

    /// Whether there is a journal, and so may be dead letters.
    member _.IsThere = journal.IsSome

    /// By the journal's clock, as the times of dead letters are. None without a journal.
    member _.Now: DateTimeOffset option = journal |> Option.map _.Now

    /// The oldest first.
    member _.List(filter: DeadLetterFilter) : Task<Result<DeadLetter list, DeadLetterError>> =
        ask _.DeadLetters(filter)

    member _.Read(id: CopyId) : Task<Result<(DeadLetter * CapturedRequest) option, DeadLetterError>> =
        ask _.DeadLetter(id)

    /// Makes them copies again; at most so many are sent each second, if there is a limit.
    member _.Replay
        (filter: DeadLetterFilter, perSecond: int option)
        : Task<Result<DeadLetterChange, DeadLetterError>> =
        let interval =
            match perSecond with
            | Some count -> TimeSpan.FromSeconds 1.0 / float count
            | None -> TimeSpan.Zero

        change filter (fun journal before filter ->
            journal.Replay(filter, interval * float before, interval, isRouted))

    member _.Drop(filter: DeadLetterFilter) : Task<Result<DeadLetterChange, DeadLetterError>> =
        change filter (fun journal _ filter -> journal.DropDeadLetters filter)

    /// What `Replay` would do now.
    member _.WouldReplay(filter: DeadLetterFilter) : Task<Result<DeadLetterChange, DeadLetterError>> =
        wouldChange filter isRouted

    /// What `Drop` would do now.
    member _.WouldDrop(filter: DeadLetterFilter) : Task<Result<DeadLetterChange, DeadLetterError>> =
        wouldChange filter (fun _ -> true)
