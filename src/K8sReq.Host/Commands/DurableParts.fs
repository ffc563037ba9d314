namespace K8sReq.Host.Commands

open System
open System.Threading
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.Proxy

/// The journal, with all that looks after it: copies of RequestClones that are gone, old dead letters, sinks. Disposed after the
/// copies have ended: then every completion is written.
[<Sealed>]
type DurableParts
    (
        logger: ILogger,
        clock: TimeProvider,
        settings: JournalSettings,
        // What this replica is called, where several use one journal.
        name: string,
        accounts: CopyAccounts,
        clones: CloneDirectory,
        client: TargetClient,
        // Whether a RequestClone that has no queue in force is gone: false as long as the routes are not known.
        areRoutesKnown: unit -> bool,
        // Where a target's dead letters go besides, if anywhere.
        sinkOf: Target -> Target option,
        stop: CancellationToken
    ) =
    let isRouted (clone: ObjectKey) = (clones.LaneOf clone).IsSome

    let place = JournalPlace.describe settings.KeptIn

    // 0 for not known. Written on the journal's thread.
    let mutable replicas = 0

    // What waits in the journal may come out.
    let nudge (clone: ObjectKey) =
        clones.LaneOf clone |> Option.iter _.NudgeNow()

    let opened (content: JournalContent) =
        for clone, waiting in content.Waiting do
            accounts.Recovered((clones.Of clone).Statistics, waiting.Copies)

        for entry in content.Poisonous do
            accounts.FailedInJournal((clones.Of entry.Clone).Statistics, 1L)
            Log.copyParked logger (string entry.Clone) (string entry.Id)

        // They have figures of their own, also where no copy waits.
        for clone, _ in content.Letters do
            clones.Of clone |> ignore

        match settings.KeptIn, content.Damage with
        | JournalPlace.Folder folder, Some damage ->
            let log = JournalFile.logOf (JournalFile.pathIn folder)
            Log.journalDamaged logger (WalInspection.describe log damage)
        | _ -> ()

        content.Waiting
        |> List.sumBy (fun (_, waiting) -> waiting.Copies)
        |> Log.journalOpened logger place

        for clone, _ in content.Waiting do
            nudge clone

    let adopted (upkeep: JournalUpkeep) =
        for clone, waiting in upkeep.Adopted do
            accounts.Recovered((clones.Of clone).Statistics, waiting.Copies)

        for entry in upkeep.Poisonous do
            let statistics = (clones.Of entry.Clone).Statistics
            accounts.Recovered(statistics, 1L)
            accounts.FailedInJournal(statistics, 1L)
            Log.copyParked logger (string entry.Clone) (string entry.Id)

        if not upkeep.Adopted.IsEmpty then
            upkeep.Adopted
            |> List.sumBy (fun (_, waiting) -> waiting.Copies)
            |> Log.copiesAdopted logger

    let recounted (clone: ObjectKey) (copies: int64) =
        let statistics = (clones.Of clone).Statistics

        if copies > 0L then
            accounts.Recovered(statistics, copies)
        else
            accounts.DroppedFromJournal(statistics, -copies)

    let store =
        new JournalStore(
            clock,
            JournalEngines.create clock name settings,
            {
                Limit = settings.Limit
                Linger = settings.Linger
                DeadLetterKeep = settings.DeadLetterKeep
            },
            {
                Opened = opened
                Adopted = adopted
                Replicas = fun count -> Volatile.Write(&replicas, count)
                Recounted = recounted
                TakenOver =
                    fun clone copies -> accounts.TakenOverInJournal((clones.Of clone).Statistics, copies)
                Arrived = nudge
                Failed = fun fault -> Log.journalFailed logger (JournalFault.describe fault)
                Recovered = fun () -> Log.journalRecovered logger place
            },
            fun clone copies -> accounts.Replayed((clones.Of clone).Statistics, copies)
        )

    let orphans =
        new JournalOrphans(
            clock,
            settings.OrphanKeep,
            store,
            (fun clone -> areRoutesKnown () && not (isRouted clone)),
            fun clone copies ->
                accounts.DroppedFromJournal((clones.Of clone).Statistics, copies)
                ProxyLog.orphansDropped logger (string clone) copies
        )

    let pruning = new DeadLetterPruning(clock, store)

    let sinks =
        new DeadLetterSinks(
            clock,
            store,
            client,
            (fun clone -> clones.LaneOf clone |> Option.bind (fun lane -> sinkOf lane.Target)),
            stop,
            Log.unexpected logger
        )

    member _.Store = store
    member _.Sinks = sinks

    /// How many replicas use the journal, as counted last; none where that is not known.
    member _.Replicas: int option =
        match Volatile.Read &replicas with
        | 0 -> None
        | count -> Some count

    /// Whether there is anything of a RequestClone in the journal.
    member _.Has(clone: ObjectKey) : bool =
        store.Usage.Has clone || (store.Letters.Of clone).Letters > 0L

    interface IDisposable with
        member _.Dispose() =
            (orphans :> IDisposable).Dispose()
            (pruning :> IDisposable).Dispose()
            (sinks :> IDisposable).Dispose()
            // Every completion is written: nothing that has ended is sent again after the next start.
            (store :> IDisposable).Dispose()
