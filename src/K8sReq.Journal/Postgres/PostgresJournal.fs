namespace K8sReq.Journal.Postgres

open System
open System.Diagnostics
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

/// The journal on an open connection. Each transaction begins with the question whether this replica still counts as alive.
[<Sealed>]
type PostgresJournal
    (
        session: PostgresSession,
        me: ReplicaId,
        times: ReplicaTimes,
        lease: SendLease,
        clock: TimeProvider,
        deadLetterLimit: int64,
        suspects: Suspects,
        setAside: SetAside
    ) =
    let owner = me.Number
    let replicas = Replicas(session, me, times)
    let clones = CloneRows session
    let requests = RequestRows(session, owner)
    let packs = PackRows(session, owner, requests)
    let letters = DeadLetterRows(session, owner, clones, requests, deadLetterLimit)
    let adoption = Adoption(session, owner, packs, letters)
    let waiting = WaitingRows(session, owner, requests, suspects)
    let opened = Stopwatch.GetTimestamp()
    // Dead letters of others, and replicas, are counted no more often than once for so many upkeeps.
    let upkeepsToCount = 10
    let mutable upkeeps = 0

    do
        session.Settle <-
            fun () ->
                packs.Settle()
                requests.Settle()

    // Whether the server has been there long enough for the others to have come back to it.
    let knowsOthers () =
        Stopwatch.GetElapsedTime opened >= times.Grace

    // By itself: it is given whatever comes of the rest.
    let renew () =
        let asked, askedUtc = clock.GetTimestamp(), clock.GetUtcNow()
        replicas.Renew()
        session.Commit()
        lease.Renew(owner, asked, askedUtc)

    let takeOver (gone: int64) (now: DateTimeOffset) (keep: TimeSpan) : JournalUpkeep =
        try
            let found = adoption.TakeOver(gone, now, keep)

            if not found.IsMore then
                replicas.Remove gone

            // What is left cannot be taken over, if anything is.
            if JournalUpkeep.isNothing found then
                setAside.Add gone

            // Others may have gone too.
            { found with IsMore = true }
        with _ ->
            setAside.Add gone
            reraise ()

    let upkeep (now: DateTimeOffset) (keep: TimeSpan) : JournalUpkeep =
        renew ()
        replicas.Guard()

        if knowsOthers () then
            replicas.FenceExpired()

        let found =
            match replicas.TakeGone setAside.Now with
            | ValueNone -> JournalUpkeep.nothing
            | ValueSome gone -> takeOver gone now keep

        upkeeps <- upkeeps + 1

        if upkeeps % upkeepsToCount = 1 then
            {
                found with
                    Letters = Some(letters.Found())
                    Replicas = Some(replicas.Count())
            }
        else
            found

    interface IJournalRows with
        member _.NumberOf(clone: ObjectKey) : int64 = clones.Of clone
        member _.TryNumberOf(clone: ObjectKey) : int64 voption = clones.TryFind clone
        // All numbers begin with the replica's: see `LastNumber`.
        member _.Reserve(_: int64) : unit = ()
        member _.InsertRequest(row: RequestRow) : unit = requests.Insert row

        member _.InsertCopy(row: RequestRow, copy: DurableCopy, clone: int64) : unit =
            requests.InsertCopy(
                row.Number,
                copy.Copy,
                clone,
                row.Bytes,
                (if copy.IsSpilled then 1 else 0),
                0L
            )

        member _.InsertPack(id: int64, pack: RequestPack) : unit = packs.Insert(id, pack)

        member _.SetAttempts(id: CopyId, attempts: int) : unit =
            requests.Change(id, "attempts = $4, suspicion = 0, state = 0", Value.number (int64 attempts))

        member _.Shelve(copy: ShelvedCopy) : unit =
            requests.Change(
                copy.Id,
                "suspicion = CASE WHEN attempts < $4 THEN 0 ELSE suspicion END, state = 1, attempts = $4, due = $5",
                Value.number (int64 copy.Attempts),
                Value.number (copy.Due.ToUnixTimeMilliseconds())
            )

        member _.DeleteCopy(id: CopyId) : unit = requests.DeleteCopy id
        member _.SetEnded(id: CopyId) : unit = packs.SetEnded id

        member _.DeletePack(pack: LivePack) : unit =
            packs.Delete pack.Id

            if pack.HasWrittenEnds then
                packs.DeleteEnds pack.Requests

        member _.Unpack(pack: int64) : unit = packs.Unpack pack
        member _.AddLetter(entry: DeadEntry) : RemovedLetter list = letters.Add entry
        member _.Letters: IKeptLetters = letters
        member _.Drop(clone: int64) : struct (int * int64) = waiting.Drop clone

        member _.Take
            (clone: ObjectKey, number: int64, most: int, mostBytes: int64, now: DateTimeOffset)
            : StoredCopy list =
            waiting.Take(clone, number, most, mostBytes, now)

        member _.RestOf(clone: int64) : RestOfBacklog voption = waiting.RestOf clone

    interface IOpenJournal with
        member _.Epoch = owner

        // What is there is others': see `Upkeep`.
        member _.ReadContent(_: DateTimeOffset, _: TimeSpan) =
            let found = letters.Found()
            session.Commit()

            {
                Waiting = []
                Poisonous = []
                Letters = found
                Unsent = []
                Damage = None
            },
            []

        // The server says so when there is none.
        member _.HasRoom(_: bool, _: int64) : bool = true

        member _.Begin() : unit = replicas.Guard()

        member rows.Rows = rows

        member _.Upkeep(now: DateTimeOffset, keep: TimeSpan) : JournalUpkeep = upkeep now keep

        member _.Recount() : JournalUpkeep = {
            JournalUpkeep.nothing with
                Adopted = waiting.Found()
                Unsent = letters.Unsent()
                Letters = Some(letters.Found())
        }

        member _.Commit() : unit = session.Commit()

        member _.PutBack(id: CopyId) : unit = requests.Change(id, "state = 1")

        member _.Remove(request: int64) : unit =
            packs.Delete request
            requests.DeleteAll request

        member _.LastNumber: int64 = owner <<< 40

        member _.LastTime: DateTimeOffset =
            let now =
                session.Number "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
                |> ValueOption.get
                |> DateTimeOffset.FromUnixTimeMilliseconds

            session.Commit()
            now

        // It has one of its own.
        member _.SetLastTime(_: DateTimeOffset) : unit = ()

        member _.Leave() : unit =
            replicas.Leave()
            session.Commit()

    interface IDisposable with
        member _.Dispose() = (session :> IDisposable).Dispose()
