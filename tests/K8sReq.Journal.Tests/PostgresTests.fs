/// What a journal in PostgreSQL keeps to beyond what every journal does: several replicas, and a server that is away, does not
/// let them in, or ends.
module K8sReq.Journal.Tests.PostgresTests

open System
open System.Threading
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open Expecto
open Npgsql
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.Journal.Postgres
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private failing = TargetOutcome.Rejected 500
let private all = DeadLetterFilter.everything

/// On the server that the tests share, or on one of the test's own.
let private withServer (find: unit -> PostgresServer) (run: PostgresServer -> Task<unit>) () : Task<unit> =
    if PostgresServer.IsInstalled then
        run (find ())
    else
        skiptest PostgresServer.Missing

let private shared = withServer (fun () -> PostgresServer.Shared.Value)

let private own (run: PostgresServer -> Task<unit>) =
    withServer PostgresServer.New (fun server -> task {
        use _ = server
        do! run server
    })

// Replicas that look after each other all the time.
let private lively = {
    PostgresSite.Times with
        Interval = TimeSpan.FromMilliseconds 50.0
}

let private lettersOf (bench: Bench) : Task<DeadLetter list> = task {
    match! bench.Journal.DeadLetters all |> Waiting.within "the dead letters" with
    | Some letters -> return letters
    | None -> return failtest "the journal cannot be used"
}

let private die (bench: Bench) (clone: ObjectKey) (isForSink: bool) : Task<CopyId> = task {
    let request = requestOf "abc"B [ clone, false ] ignore
    do! append bench request
    bench.Store.Died request (copyOf request 0) failing 1 (TimeSpan.FromDays 7.0) isForSink
    return copyOf request 0
}

/// Whether it may be sent, once that is known.
let private maySend (bench: Bench) (request: AcceptedRequest) : Task<bool> =
    (bench.Store.MaySend request CancellationToken.None).AsTask()
    |> Waiting.within "whether it may be sent"

let private isKept (bench: Bench) (clone: ObjectKey) : Task<bool> =
    kept bench.Store (requestOf "abc"B [ clone, false ] ignore)

let private keptAgain (bench: Bench) : Task<unit> =
    Waiting.until "the journal to work again" (fun () -> isKept bench (shop "again"))

let private uriWith (site: PostgresSite) (user: string) (password: string) : PostgresAddress =
    let address = (site.Options 1L).Address

    {
        address with
            User = user
            Password = Some(Secret.create password)
    }

/// A journal on this address; what it tells of faults.
let private faultOf (address: PostgresAddress) : JournalFault =
    let engine =
        PostgresEngine.create TimeProvider.System {
            Address = address
            Password = None
            Name = "a"
            Limit = 1000L
            Times = PostgresSite.Times
        }

    match engine.Open true ignore (Suspects()) with
    | Ok journal ->
        journal.Dispose()
        failtest "it was opened"
    | Error fault -> fault

/// A journal of a role of its own that may make the tables, once it is open.
let private storeOf (site: PostgresSite) (role: string) : Task<JournalStore> = task {
    let store =
        new JournalStore(
            TimeProvider.System,
            PostgresEngine.create TimeProvider.System {
                site.Options 1_000_000L with
                    Address = uriWith site role "secret"
                    Times = lively
            },
            TestJournal.Options 1_000_000L,
            JournalEvents.none,
            fun _ _ -> ()
        )

    do! Waiting.until "the journal to be open" (fun () -> Task.FromResult store.IsOpened)
    return store
}

let tests =
    testList "a journal in PostgreSQL" [
        testCaseTask "many that open an empty database at once make its tables once"
        <| shared (fun server -> task {
            let site = PostgresSite server
            let benches = [ for _ in 1..6 -> new Bench(site) ]

            for bench in benches do
                let! _ = bench.Found
                Expect.equal bench.Faults [] "none had a fault"

            for bench in benches do
                (bench :> IDisposable).Dispose()

            Expect.equal (site.Count "format") 1L "one version"
            Expect.equal (site.Count "replicas") 0L "and none is left that has gone"
        })

        testCaseTask
            "a role that may not make tables finds them where another has made them with what is printed"
        <| shared (fun server -> task {
            let site = PostgresSite server
            let role = site.Database + "_role"

            site.Ask $"CREATE ROLE {role} LOGIN PASSWORD 'secret'" |> ignore
            let address = uriWith site role "secret"

            match faultOf address with
            | JournalFault.NoTables(_, 1L) -> ()
            | other -> failtest $"{other}"

            site.Ask PostgresSchema.sql |> ignore
            site.Ask(PostgresSchema.rights role) |> ignore

            let! store = storeOf site role
            use _ = store
            let request = requestOf "abc"B [ shop "a", true ] ignore
            let! isKept = kept store.Store request
            Expect.isTrue isKept "it keeps what comes"
            let! taken = store.Store.Take (shop "a") 10 1000L |> Waiting.within "what was taken"
            Expect.hasLength taken 1 "and gives it"
        })

        testCaseTask "tables of a later version are refused, and left as they are"
        <| shared (fun server -> task {
            let site = PostgresSite server

            do! task {
                use bench = new Bench(site)
                do! append bench (requestOf "abc"B [ shop "a", false ] ignore)
            }

            site.Ask "UPDATE k8sreq.format SET version = 99" |> ignore

            match faultOf (site.Options 1L).Address with
            | JournalFault.TablesTooNew(_, 99L) -> ()
            | other -> failtest $"{other}"

            Expect.equal (site.Count "packs") 1L "what is there"
        })

        testCaseTask "what the server refuses is told in words, without the password"
        <| shared (fun server -> task {
            let site = PostgresSite server
            let address = (site.Options 1L).Address

            let refusing = [
                uriWith site "postgres" "wrong-secret"
                { address with Database = "nowhere" }
            ]

            for address in refusing do
                match faultOf address with
                | JournalFault.Denied _ as fault ->
                    let text = JournalFault.describe fault
                    Expect.stringContains text $"127.0.0.1:{server.Port}" "which server"
                    Expect.isFalse (text.Contains "secret") $"no password: {text}"
                | other -> failtest $"{other}"

            match
                faultOf {
                    address with
                        Hosts = [ "127.0.0.1", 1 ]
                }
            with
            | JournalFault.Away(_, detail) -> Expect.stringContains detail "refused" "why"
            | other -> failtest $"{other}"
        })

        testCaseTask "of several servers the one that takes writes is used"
        <| shared (fun server -> task {
            let site = PostgresSite server
            let address = (site.Options 1L).Address

            let engine =
                PostgresEngine.create TimeProvider.System {
                    site.Options 1_000_000L with
                        Address = {
                            address with
                                Hosts = ("127.0.0.1", 1) :: address.Hosts
                        }
                }

            match engine.Open true ignore (Suspects()) with
            | Ok journal -> journal.Dispose()
            | Error fault -> failtest $"{fault}"
        })

        testCaseTask "the server's clock counts: replicas whose clocks differ by minutes agree on what is due"
        <| shared (fun server -> task {
            let site = PostgresSite server

            for offset in [ -10.0; 10.0 ] do
                let clock = SetClock(Offset = TimeSpan.FromMinutes offset)
                use bench = new Bench(site, clock)
                let! _ = bench.Found

                match site.Ask "SELECT extract(epoch FROM clock_timestamp())::float8" with
                | :? float as now ->
                    let difference = (bench.Journal.Now - DateTimeOffset.UnixEpoch).TotalSeconds - now
                    Expect.isLessThan (abs difference) 30.0 "the server's time"
                | other -> failtest $"{other}"
        })

        testCaseTask
            "a replica that others count as gone keeps nothing, sends nothing of what it had, and goes on with what comes"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use first = new Bench(site)
            let sent = requestOf "memory"B [ shop "a", false ] ignore
            do! append first sent
            do! append first (requestOf "file"B [ shop "a", true ] ignore)
            let! may = maySend first sent
            Expect.isTrue may "it is its own"

            use second = new Bench(site.Crash())
            let! found = second.FoundCopies
            Expect.equal found [ "a", 2L ] "another has both"

            let! isKept = isKept first (shop "a")
            Expect.isFalse isKept "it finds out before it keeps anything"

            match first.Faults with
            | [ JournalFault.TakenOver _ ] -> ()
            | other -> failtest $"{other}"

            do! keptAgain first
            let! may = maySend first sent
            Expect.isFalse may "it is another's"
            Expect.equal first.TakenOver [ shop "a", 1L ] "and so is what waited"
            Expect.equal (first.Store.Backlog(shop "a")).Copies 0L "nothing waits here"
            do! Waiting.until "to be told" (fun () -> Task.FromResult((first.Recoveries = 1)))

            // What becomes of it here changes nothing there.
            first.Store.Ended sent (copyOf sent 0) delivered
            let fresh = requestOf "new"B [ shop "b", false ] ignore
            do! append first fresh
            let! may = maySend first fresh
            Expect.isTrue may "what comes is its own"
            let! taken = take second (shop "a")
            Expect.hasLength (taken |> List.map _.Id |> List.distinct) 2 "each once"
            let! none = take first (shop "a")
            Expect.isEmpty none "and not here"
        })

        testCaseTask
            "a replica that takes over what it had itself sends it, whatever becomes of what is in its memory still"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use bench = new Bench(site)
            let requests = [ for n in 1..4 -> requestOf [| byte n |] [ shop "a", false ] ignore ]

            for request in requests do
                do! append bench request

            // Nobody else is there.
            site.Crash() |> ignore
            do! keptAgain bench

            do!
                Waiting.until "all to be taken over" (fun () ->
                    Task.FromResult((bench.Store.Backlog(shop "a")).Copies = 4L))

            // Those in memory end in every way that there is.
            bench.Store.Ended requests[0] (copyOf requests[0] 0) TargetOutcome.TakenOver
            bench.Store.Died requests[1] (copyOf requests[1] 0) failing 1 (TimeSpan.FromDays 1.0) false
            bench.Store.Parked requests[2] (copyOf requests[2] 0) CopyState.accepted (TimeSpan.FromHours 1.0)

            bench.Store.Shelved
                requests[3]
                (copyOf requests[3] 0)
                CopyState.accepted
                (TimeSpan.FromHours 1.0)

            let! letters = lettersOf bench
            Expect.isEmpty letters "none of them is a dead letter"
            Expect.equal (bench.Journal.Letters.Of(shop "a")).Letters 0L "nor counted as one"
            let! taken = take bench (shop "a")
            Expect.hasLength taken 4 "all of them are sent"

            for copy in taken do
                bench.Store.Ended (StoredCopy.accepted 0L ignore copy) copy.Id delivered

            bench.Store.Ended requests[2] (copyOf requests[2] 0) TargetOutcome.TakenOver

            do!
                Waiting.until "their room to be free" (fun () ->
                    Task.FromResult(not (bench.Journal.Usage.Has(shop "a"))))
        })

        testCaseTask "what cannot be read of a replica that has gone stands in nobody's way"
        <| shared (fun server -> task {
            let site = PostgresSite server

            do! task {
                use bench = new Bench(site)
                do! append bench (requestOf "abc"B [ shop "a", true ] ignore)
            }

            site.Ask
                "WITH gone AS (INSERT INTO k8sreq.replicas (name, token, expires_at, fenced) \
                 VALUES ('bad', gen_random_uuid(), now(), true) RETURNING id) \
                 INSERT INTO k8sreq.packs (id, owner, requests) SELECT 1, id, '\\x0102' FROM gone"
            |> ignore

            use bench = new Bench(site)

            do!
                Waiting.until "what another has left" (fun () ->
                    bench.LookAfterOthers()
                    Task.FromResult((bench.Store.Backlog(shop "a")).Copies = 1L))

            do! keptAgain bench
            Expect.isTrue (bench.Faults |> List.exists _.IsCorrupt) $"told: {bench.Faults}"
        })

        testCaseTask "what can never be taken over of a replica that has gone is not tried without end"
        <| shared (fun server -> task {
            let site = PostgresSite server

            do! task {
                use bench = new Bench(site)
                do! append bench (requestOf "abc"B [ shop "a", true ] ignore)
            }

            // Its request is not there.
            site.Ask "DELETE FROM k8sreq.requests" |> ignore
            use bench = new Bench(site)

            for _ in 1..3 do
                do! keptAgain bench

            let before = bench.Journal.Totals.Commits

            for _ in 1..10 do
                let! _ = lettersOf bench
                ()

            Expect.equal bench.Journal.Totals.Commits (before + 10L) "nothing else was done"
        })

        testCaseTask "a server that has no connection left refuses requests until it has one"
        <| shared (fun server -> task {
            let site = PostgresSite server
            let role = site.Database + "_few"
            site.Ask $"CREATE ROLE {role} LOGIN PASSWORD 'secret'" |> ignore
            site.Ask $"GRANT CREATE ON DATABASE {site.Database} TO {role}" |> ignore
            let! store = storeOf site role
            use store = store

            let keep () =
                kept store.Store (requestOf "abc"B [ shop "a", true ] ignore)

            let! isKept = keep ()
            Expect.isTrue isKept "there is one"
            site.Ask $"ALTER ROLE {role} CONNECTION LIMIT 0" |> ignore

            site.Ask
                $"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'"
            |> ignore

            do!
                Waiting.until "the fault" (fun () -> task {
                    let! isKept = keep ()
                    Expect.isFalse isKept "refused"

                    return
                        match store.Fault with
                        | Some(JournalFault.Away(_, detail)) -> detail.Contains "53300"
                        | _ -> false
                })

            site.Ask $"ALTER ROLE {role} CONNECTION LIMIT -1" |> ignore
            do! Waiting.until "the journal to work again" keep
        })

        testCaseTask "a commit that other servers are to have as well is none until they have it"
        <| own (fun server -> task {
            let site = PostgresSite server
            use bench = new Bench(site)
            let! _ = bench.Found

            let set (standbys: string) =
                site.Ask $"ALTER SYSTEM SET synchronous_standby_names = {standbys}" |> ignore
                site.Ask "SELECT pg_reload_conf()" |> ignore

            // One that is not there: every commit waits for it.
            set "'away'"

            do!
                Waiting.until "a commit that waits" (fun () -> task {
                    let! isKept = isKept bench (shop "a")
                    return not isKept
                })

            // An administrator ends the wait: the server counts it as done, and warns.
            let waiting = isKept bench (shop "a")

            do!
                Waiting.until "the wait to be ended" (fun () ->
                    site.Ask
                        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE 'k8sreq-%'"
                    |> ignore

                    Task.FromResult waiting.IsCompleted)

            Expect.isFalse waiting.Result "that was none either"
            set "DEFAULT"
            do! keptAgain bench
        })

        testCaseTask
            "a replica without a sign of life for its lease is taken over; one that was asked waits for the answer"
        <| shared (fun server -> task {
            let site =
                PostgresSite(
                    server,
                    server.NewDatabase(),
                    {
                        lively with
                            Lease = TimeSpan.FromSeconds 2.0
                            SendLease = TimeSpan.FromSeconds 1.0
                    }
                )

            // It looks after nothing by itself: its clock stands still.
            let clock = SetClock()
            use dead = new Bench(site, clock)
            let request = requestOf "abc"B [ shop "a", false ] ignore
            do! append dead request
            let! may = maySend dead request
            Expect.isTrue may "in its time"
            use heir = new Bench(site)

            do!
                Waiting.until "the copy to be taken over" (fun () ->
                    Task.FromResult((heir.Store.Backlog(shop "a")).Copies = 1L))

            // It has stood still for longer than that.
            clock.Advance(TimeSpan.FromSeconds 1.5)

            let asked = (dead.Store.MaySend request CancellationToken.None).AsTask()

            let! may = asked |> Waiting.within "the answer"
            Expect.isFalse may "it has asked first"
        })

        testCaseTask "a stop leaves the rest to others at once, and nothing that has ended"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use heir = new Bench(site)
            let! _ = heir.Found

            do! task {
                use bench = new Bench(site)
                let first = requestOf "gone"B [ shop "a", false ] ignore
                do! append bench first
                do! append bench (requestOf "left"B [ shop "a", false ] ignore)
                bench.Store.Ended first (copyOf first 0) delivered
            }

            heir.LookAfterOthers()

            do!
                Waiting.until "the rest" (fun () ->
                    Task.FromResult((heir.Store.Backlog(shop "a")).Copies = 1L))

            do! Waiting.until "the end of it" (fun () -> Task.FromResult((site.Count "replicas" = 1L)))
        })

        testCaseTask
            "what a replica of the same name has left is taken over at once, but not from one that is there"
        <| shared (fun server -> task {
            let site = PostgresSite server

            let engine () =
                PostgresEngine.create TimeProvider.System {
                    site.Options 1_000_000L with
                        Name = "pod-1"
                }

            let opened () =
                match (engine ()).Open true ignore (Suspects()) with
                | Ok journal -> journal
                | Error fault -> failtest $"{fault}"

            let isFenced (journal: IOpenJournal) =
                match site.Ask $"SELECT fenced FROM k8sreq.replicas WHERE id = {journal.Epoch}" with
                | :? bool as isFenced -> isFenced
                | other -> failtest $"{other}"

            let first = opened ()

            do
                use _ = opened ()
                Expect.isFalse (isFenced first) "it has a connection"

            first.Dispose()

            do!
                Waiting.until "its connection to be gone" (fun () -> task {
                    use _ = opened ()
                    return isFenced first
                })
        })

        testCaseTask "dead letters are everybody's: any replica lists, reads, replays and drops them"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use first = new Bench(site)
            use second = new Bench(site)
            let! ofFirst = die first (shop "a") false
            let! ofSecond = die second (shop "b") false
            let! _ = lettersOf first
            let! _ = lettersOf second

            for bench in [ first; second ] do
                let! letters = lettersOf bench
                Expect.equal (letters |> List.map _.Id |> set) (set [ ofFirst; ofSecond ]) "both"

            second.LookAfterOthers()

            do!
                Waiting.until "the other's to be counted" (fun () ->
                    second.LookAfterOthers()
                    Task.FromResult((second.Journal.Letters.Of(shop "a")).Letters = 1L))

            let! replayed =
                second.Journal.Replay(
                    { all with Id = Some ofFirst },
                    TimeSpan.Zero,
                    TimeSpan.Zero,
                    (fun _ -> true)
                )

            Expect.equal replayed (Some 1) "replayed by the other"
            let! taken = take second (shop "a")
            Expect.equal (taken |> List.map _.Id) [ ofFirst ] "and sent by it"
            let! none = take first (shop "a")
            Expect.isEmpty none "alone"
            let! dropped = first.Journal.DropDeadLetters { all with Id = Some ofSecond }
            Expect.equal dropped (Some 1) "dropped by the other"
            let! letters = lettersOf second
            Expect.isEmpty letters "both are gone"
            let copy = List.exactlyOne taken
            second.Store.Ended (StoredCopy.accepted 0L ignore copy) copy.Id delivered
            do! Waiting.until "nothing to be left" (fun () -> Task.FromResult((site.Count "requests" = 0L)))
        })

        testCaseTask "a dead letter is sent to its sink by the replica that has made it, and by its heir"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use first = new Bench(site)
            use second = new Bench(site)
            let! id = die first (shop "a") true
            let! _ = lettersOf first

            let unsentOf (bench: Bench) = task {
                let! unsent = bench.Journal.UnsentLetters(shop "a", 10)
                return unsent |> Option.defaultValue [] |> List.map _.Letter.Id
            }

            let! here = unsentOf first
            let! there = unsentOf second
            Expect.equal (here, there) ([ id ], []) "one of them"
            use heir = new Bench(site.Crash())
            let! _ = heir.Found
            Expect.contains (heir.Journal.Letters.TakeUnsent()) (shop "a") "it is told"
            let! heirs = unsentOf heir
            Expect.equal heirs [ id ] "it has it now"
            let! _ = heir.Journal.SetSent [ id ]
            let! heirs = unsentOf heir
            Expect.isEmpty heirs "sent once"
        })

        testCaseTask "a request whose copies two replicas end at once is gone with the last of them"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use first = new Bench(site)
            use second = new Bench(site)
            let! _ = second.Found

            for _ in 1..20 do
                // One copy is a dead letter, and replayed by the other.
                let request = requestOf "abc"B [ shop "a", false; shop "b", true ] ignore
                do! append first request
                first.Store.Died request (copyOf request 0) failing 1 (TimeSpan.FromDays 1.0) false
                let! _ = lettersOf first
                let! _ = second.Journal.Replay(all, TimeSpan.Zero, TimeSpan.Zero, (fun _ -> true))
                let! ofA = take second (shop "a")
                let! ofB = take first (shop "b")
                let copyA, copyB = List.exactlyOne ofA, List.exactlyOne ofB

                do!
                    Task.WhenAll [
                        Task.Run(fun () ->
                            second.Store.Ended (StoredCopy.accepted 0L ignore copyA) copyA.Id delivered)
                        Task.Run(fun () ->
                            first.Store.Ended (StoredCopy.accepted 0L ignore copyB) copyB.Id delivered)
                    ]

            do!
                Waiting.until "the requests to be gone" (fun () ->
                    Task.FromResult((site.Count "copies" = 0L && site.Count "requests" = 0L)))

            Expect.equal (first.Faults @ second.Faults) [] "and none waited for the other for ever"
        })

        testCaseTask
            "an end of the server's processes at random under load loses nothing, and is told once a run"
        <| own (fun server -> task {
            let site = PostgresSite(server, server.NewDatabase(), lively)
            use bench = new Bench(site)
            let! _ = bench.Found
            let acknowledged = Collections.Concurrent.ConcurrentBag<byte>()
            let mutable isOver = false

            let send (n: int) : Task = task {
                while not (Volatile.Read &isOver) do
                    let! isKept = kept bench.Store (requestOf [| byte n |] [ shop "a", false ] ignore)

                    if isKept then
                        acknowledged.Add(byte n)
                    else
                        do! Task.Delay 5
            }

            let senders = [ for n in 1..4 -> Task.Run<Task>(fun () -> send n).Unwrap() ]

            for _ in 1..8 do
                let before = acknowledged.Count

                do! Waiting.until "some more" (fun () -> Task.FromResult(acknowledged.Count > before + 20))

                site.Ask
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'k8sreq%'"
                |> ignore

            isOver <- true
            do! Task.WhenAll senders
            // It tells the server that it goes.
            do! keptAgain bench
            (bench :> IDisposable).Dispose()

            use after = new Bench(site)
            let! found = after.FoundCopies
            let kept = found |> List.sumBy snd
            Expect.isGreaterThanOrEqual kept (int64 acknowledged.Count) "all that was acknowledged"
        })

        testCaseTask
            "a server that is away, and comes back, is used again: meanwhile nothing is kept, and it is told once"
        <| own (fun server -> task {
            let site = PostgresSite(server, server.NewDatabase(), lively)
            use bench = new Bench(site)
            let request = requestOf "before"B [ shop "a", false ] ignore
            do! append bench request
            server.Stop "QUIT"

            for _ in 1..5 do
                let! isKept = isKept bench (shop "a")
                Expect.isFalse isKept "refused"

            // It ends while the server is away.
            bench.Store.Ended request (copyOf request 0) delivered
            server.Start()
            do! keptAgain bench
            Expect.hasLength bench.Faults 1 $"one fault: {bench.Faults}"
            do! Waiting.until "to be told of its end" (fun () -> Task.FromResult((bench.Recoveries = 1)))
            (bench :> IDisposable).Dispose()
            use after = new Bench(site)
            let! found = after.FoundCopies

            Expect.isFalse
                (found |> List.exists (fun (clone, _) -> clone = "a"))
                $"that it has ended was kept: {found}"
        })

        testCaseTask "a failover: the standby that is promoted has all that was acknowledged, and is used"
        <| own (fun primary -> task {
            use standby = primary.NewStandby()

            primary.Ask("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
            |> ignore

            primary.Ask("postgres", "SELECT pg_reload_conf()") |> ignore
            let site = PostgresSite(primary, primary.NewDatabase(), lively)
            let address = (site.Options 1L).Address

            // The one that takes no writes first.
            let options = {
                site.Options 1_000_000_000L with
                    Address = {
                        address with
                            Hosts = [ "127.0.0.1", standby.Port; "127.0.0.1", primary.Port ]
                    }
            }

            let opened = new ManualResetEventSlim()

            use store =
                new JournalStore(
                    TimeProvider.System,
                    PostgresEngine.create TimeProvider.System options,
                    TestJournal.Options 1_000_000_000L,
                    {
                        JournalEvents.none with
                            Opened = fun _ -> opened.Set()
                    },
                    fun _ _ -> ()
                )

            Expect.isTrue (opened.Wait Waiting.patience) "it is open"

            let keep () =
                kept store.Store (requestOf "abc"B [ shop "a", true ] ignore)

            let mutable acknowledged = 0

            for _ in 1..50 do
                let! isKept = keep ()

                if isKept then
                    acknowledged <- acknowledged + 1

            Expect.equal acknowledged 50 "all"
            primary.Stop "KILL"
            let! isKept = keep ()
            Expect.isFalse isKept "there is nobody"
            standby.Promote()
            do! Waiting.until "the journal to work again" keep
            do! Waiting.until "the end of the fault" (fun () -> Task.FromResult store.Fault.IsNone)

            match standby.Ask(site.Database, "SELECT count(*) FROM k8sreq.copies") with
            | :? int64 as copies -> Expect.isGreaterThanOrEqual copies 51L "all are there"
            | other -> failtest $"{other}"
        })

        testCaseTask
            "a server that takes no writes, or has no connection left, refuses requests until it does"
        <| own (fun server -> task {
            let site = PostgresSite(server, server.NewDatabase(), lively)
            use bench = new Bench(site)
            let! _ = bench.Found

            let breakAndMend (broken: unit -> IDisposable) = task {
                let faults = bench.Faults.Length

                do! task {
                    use _ = broken ()

                    do!
                        Waiting.until "a refusal" (fun () -> task {
                            let! isKept = isKept bench (shop "a")
                            return not isKept
                        })
                }

                do! keptAgain bench
                Expect.equal bench.Faults.Length (faults + 1) "told once"

                do!
                    Waiting.until "to be told of its end" (fun () ->
                        Task.FromResult((bench.Recoveries = faults + 1)))
            }

            let setting (name: string) (value: string) () =
                let set (value: string) =
                    site.Ask $"ALTER SYSTEM SET {name} = {value}" |> ignore
                    site.Ask "SELECT pg_reload_conf()" |> ignore

                set value

                {
                    new IDisposable with
                        member _.Dispose() = set "DEFAULT"
                }

            do! breakAndMend (setting "default_transaction_read_only" "on")

            do!
                breakAndMend (fun () ->
                    // Superusers have some that others cannot take: the limit is the database's.
                    server.Ask("postgres", $"ALTER DATABASE {site.Database} ALLOW_CONNECTIONS false")
                    |> ignore

                    server.Ask(
                        "postgres",
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'k8sreq%'"
                    )
                    |> ignore

                    {
                        new IDisposable with
                            member _.Dispose() =
                                server.Ask(
                                    "postgres",
                                    $"ALTER DATABASE {site.Database} ALLOW_CONNECTIONS true"
                                )
                                |> ignore
                    })
        })

        testCaseTask "a server's certificate is checked as the URI asks"
        <| own (fun server -> task {
            use folder = new TestFolder()

            let certificate (name: string) =
                use key = ECDsa.Create ECCurve.NamedCurves.nistP256
                let request = CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256)
                let names = SubjectAlternativeNameBuilder()
                names.AddIpAddress Net.IPAddress.Loopback
                request.CertificateExtensions.Add(names.Build())
                request.CertificateExtensions.Add(X509BasicConstraintsExtension(true, false, 0, true))
                let now = DateTimeOffset.UtcNow
                use made = request.CreateSelfSigned(now.AddDays -1.0, now.AddDays 1.0)
                made.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem()

            let own, key = certificate "server"
            let other, _ = certificate "other"
            folder.Write("own.pem", own)
            folder.Write("other.pem", other)
            server.UseTls(own, key)
            let site = PostgresSite server

            let opened (options: (string * string) list) =
                let engine =
                    PostgresEngine.create TimeProvider.System {
                        site.Options 1000L with
                            Address = {
                                (site.Options 1L).Address with
                                    Options = options
                            }
                    }

                match engine.Open true ignore (Suspects()) with
                | Ok journal ->
                    let isEncrypted =
                        site.Ask
                            "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'k8sreq-%'"

                    journal.Dispose()
                    Ok isEncrypted
                | Error fault -> Error(JournalFault.describe fault)

            do!
                Waiting.until "the server to have it" (fun () ->
                    Task.FromResult((opened [ "sslmode", "require" ] = Ok(box true))))

            Expect.equal
                (opened [ "sslmode", "verify-full"; "sslrootcert", folder.At "own.pem" ])
                (Ok(box true))
                "the right one"

            match opened [ "sslmode", "verify-full"; "sslrootcert", folder.At "other.pem" ] with
            | Ok _ -> failtest "another's was taken"
            | Error text -> Expect.stringContains text "certificate" "why"

            Expect.equal (opened [ "sslmode", "disable" ]) (Ok(box false)) "and without"
        })

        testCaseTask "while nothing happens no transaction, lock or snapshot is held"
        <| shared (fun server -> task {
            let site = PostgresSite server
            use bench = new Bench(site)
            do! append bench (requestOf "abc"B [ shop "a", true ] ignore)
            let! taken = take bench (shop "a")
            Expect.hasLength taken 1 "under way"
            let! _ = lettersOf bench

            let held =
                site.Ask
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND application_name LIKE 'k8sreq-%' AND (state <> 'idle' OR backend_xmin IS NOT NULL)"

            Expect.equal held (box 0L) "none"

            Expect.equal
                (site.Ask
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'k8sreq-%'")
                (box 1L)
                "by the one connection that there is"
        })
    ]
