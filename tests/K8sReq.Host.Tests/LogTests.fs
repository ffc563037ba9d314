/// What the published program logs, and what it never does.
module K8sReq.Host.Tests.LogTests

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging
open K8sReq.Host
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.TestKit

let private timestamp =
    Regex @"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (dbug|info|warn|fail|crit): "

let private lines (program: TracedProgram) = program.Program.Errors.Split '\n'

let private unavailable () =
    TestTarget.answering "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

let tests =
    testList "the log" [
        test "what libraries log is bounded, by kind, and how much was left out is said" {
            let clock = TestClock()
            let lines = ResizeArray<string>()

            let inner = {
                new ILogger with
                    member _.BeginScope _ = null
                    member _.IsEnabled level = level >= LogLevel.Warning

                    member _.Log(_, _, state, error, formatter) =
                        lines.Add(formatter.Invoke(state, error))
            }

            let factory = {
                new ILoggerFactory with
                    member _.AddProvider _ = ()
                    member _.CreateLogger _ = inner
                    member _.Dispose() = ()
            }

            let limited = LimitedLoggers.create clock factory
            let server = limited.CreateLogger "Microsoft.AspNetCore.Server.Kestrel"

            for n in 1..1000 do
                server.Log(LogLevel.Critical, EventId 1, $"one {n}")
                server.Log(LogLevel.Error, EventId 2, $"two {n}")
                server.Log(LogLevel.Debug, EventId 3, "not logged anyway")

            Expect.hasLength lines 10 "five of each"
            clock.Advance(TimeSpan.FromSeconds 11.0)
            server.Log(LogLevel.Critical, EventId 1, "again")

            Expect.equal
                (List.ofSeq lines |> List.skip 10)
                [ "995 more lines like the next one not logged (limit: 5 per 10 s)"; "again" ]
                "and then"

            let own = limited.CreateLogger "k8sreq"

            for n in 1..100 do
                own.Log(LogLevel.Critical, EventId 1, $"own {n}")

            Expect.hasLength lines 112 "this program limits its own lines itself"
        }

        testCaseTask
            "as JSON each line is an object: time, level, message, and what a copy's failure is about"
        <| fun () -> task {
            use! collector = OtlpReceiver.Start()
            use bad = unavailable ()

            use! program =
                TracedProgram.Start(
                    (Manifests.route "a.example" [ bad.Port ])
                        .Replace(
                            "servicePort: http}",
                            "servicePort: http}, delivery: {retry: 1, backoffDelay: 1ms}"
                        ),
                    TracedProgram.Variables(collector, "grpc") @ [ "LOG_FORMAT", "json" ]
                )

            do! program.Send("GET /", [])
            let! message = bad.Next()
            let traceId = (message.Values "traceparent").Head.Split('-')[1]
            let! _ = bad.Next()
            do! program.Stop()

            let entries = [ for line in lines program -> JsonDocument.Parse(line).RootElement ]

            for entry in entries do
                let names = [ for field in entry.EnumerateObject() -> field.Name ]
                Expect.equal (List.distinct names) names "no name twice"
                Expect.all names (fun name -> Regex.IsMatch(name, "^[a-z][a-z0-9_]*$")) "snake_case"

                Expect.all
                    (List.ofSeq (entry.EnumerateObject()))
                    (fun field ->
                        field.Value.ValueKind <> JsonValueKind.Object
                        && field.Value.ValueKind <> JsonValueKind.Array)
                    "flat"

                let text (name: string) =
                    entry.GetProperty(name).GetString() |> string

                Expect.equal (List.take 4 names) [ "time"; "level"; "msg"; "logger" ] "what each has"
                Expect.isNotEmpty (text "msg") "a message"

                Expect.isMatch
                    (text "time")
                    @"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
                    "RFC 3339, in UTC, with milliseconds"

                Expect.contains [ "info"; "warn" ] (text "level") "a level"
                Expect.equal (text "logger") "k8sreq" "the program's own"

            let failure =
                entries |> List.find (fun entry -> entry.GetProperty("event_id").GetInt32() = 6)

            let field (name: string) = failure.GetProperty(name)

            Expect.equal
                [
                    for name in [ "event"; "clone"; "address"; "outcome" ] -> field(name).GetString()
                ]
                [ "copy_failed"; "shop/copy-0"; $"127.0.0.1:{bad.Port}"; "answered 503" ]
                "what"

            Expect.equal (field("attempts").GetInt32()) 2 "how often"
            Expect.isGreaterThan (field("duration_ms").GetDouble()) 0.0 "how long"
            Expect.equal (field("trace_id").GetString()) traceId "the trace that the target was told"

            let listening =
                entries
                |> List.find (fun entry ->
                    entry.GetProperty("event_id").GetInt32() = 1
                    && entry.GetProperty("endpoint").GetString() = "Proxy")

            Expect.equal (listening.GetProperty("port").GetInt32()) program.Port "a number is a number"

            Expect.all collector.Spans (fun span -> span.TraceId = traceId) "and the collector"
        }

        testCaseTask "as JSON it is an object that says why the program does not start"
        <| fun () -> task {
            use taken = TestTarget.ok ()
            use folder = new TestFolder()

            use program =
                PublishedProgram.Start(
                    [
                        $"--http-addr=127.0.0.1:{taken.Port}"
                        "--probe-addr=127.0.0.1:0"
                        "--metrics-addr=127.0.0.1:0"
                        "--status-addr=127.0.0.1:0"
                        "--log-format=json"
                        "--manifests"
                        folder.Path
                    ],
                    []
                )

            let! code = program.ExitCode()
            Expect.equal code 1 "it could not start"

            let entries = [
                for line in program.Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries) ->
                    JsonDocument.Parse(line).RootElement
            ]

            let last = List.last entries
            Expect.equal (last.GetProperty("level").GetString()) "error" "an error"
            Expect.stringContains (string (last.GetProperty("msg").GetString())) "HTTP_ADDR" "which"
        }

        testCaseTask "nothing is said of a request that is delivered; one line at the start, one at the end"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! program = TracedProgram.Start(Manifests.route "a.example" [ target.Port ], [])
            use! client = TestClient.Connect program.Port

            for _ in 1..1000 do
                do! client.Send "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx"
                let! answer = client.Answer()
                Expect.equal (TestClient.status answer) 202 "accepted"

            let! _ = target.Take 1000
            do! program.Stop()

            let log = lines program

            Expect.equal
                (log |> Array.map (fun line -> Regex.Match(line, @"\[(\d+)\]").Groups[1].Value))
                [| "24"; "1"; "1"; "1"; "1"; "2"; "7"; "8" |]
                "starting, the ports, the routes, stopping, stopped"

            Expect.isMatch
                log[0]
                "starts with .*MAX_CONCURRENT_REQUESTS=256 .*LOG_LEVEL=info LOG_FORMAT=console.*traces are not exported, metrics are not exported$"
                "what is in force"

            Expect.stringEnds
                (Array.last log)
                "Stopped. 1000 copies accepted: 1000 delivered, 0 failed, 0 dropped; 0 retries"
                "the totals"
        }

        testCaseTask "of copies that fail so many are said, and then how many were not"
        <| fun () -> task {
            let refused = TestTarget.refusedPort ()
            use bad = unavailable ()

            use! program =
                TracedProgram.Start(Manifests.route "a.example" [ refused; bad.Port ], [])

            for _ in 1..50 do
                do! program.Send("GET /", [])

            do! program.Stop()
            let log = lines program

            let said (words: string) =
                log |> Array.filter (fun line -> Regex.IsMatch(line, words))

            for clone, words in
                [
                    "shop/copy-0", "could not connect: Connection refused"
                    "shop/copy-1", "answered 503"
                ] do
                let single =
                    said
                        $@"warn: k8sreq\[6\] A copy for {clone} was not delivered to 127\.0\.0\.1:\d+: {words} \(1 attempt, [\d.]+ ms\)$"

                let omitted =
                    said $"more failed cop(y|ies) for {clone} not logged"
                    |> Array.sumBy (fun line -> int (Regex.Match(line, @"(\d+) more").Groups[1].Value))

                Expect.equal (single.Length + omitted) 50 $"{clone}: each is counted once"
                // The window may have begun again meanwhile, if this machine is slow.
                Expect.isLessThan single.Length 50 "not each has a line"
        }

        testCaseTask "nothing that is secret is logged, at whatever level"
        <| fun () -> task {
            use bad =
                TestTarget.answering "HTTP/1.1 500 SECRET\r\nX: SECRET\r\nContent-Length: 6\r\n\r\nSECRET"

            use worse = TestTarget.answering "SECRET\r\n\r\n"

            use redirecting =
                TestTarget.answering "HTTP/1.1 302 SECRET\r\nLocation: /SECRET\r\nContent-Length: 0\r\n\r\n"

            let ports = [ bad.Port; worse.Port; redirecting.Port; TestTarget.refusedPort () ]

            use! program =
                TracedProgram.Start(
                    Manifests.route "a.example" ports,
                    [
                        "LOG_LEVEL", "debug"
                        "OTEL_EXPORTER_OTLP_HEADERS", "authorization=SECRET"
                        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                        $"http://SECRET:SECRET@127.0.0.1:{TestTarget.refusedPort ()}/SECRET?SECRET"
                    ],
                    [
                        "--otel-exporter-otlp-traces-headers=authorization=SECRET"
                        "--otel-exporter-otlp-metrics-endpoint"
                        "SECRET"
                        "--otel-exporter-otlp-metrics-certificate=/does/not/exist.pem"
                    ]
                )

            let! answer =
                TestClient.roundTrip
                    program.Port
                    ("POST http://SECRET:SECRET@a.example/SECRET?key=SECRET HTTP/1.1\r\nHost: a.example\r\n"
                     + "Authorization: Bearer SECRET\r\nCookie: SECRET\r\nSECRET: 1\r\nContent-Length: 6\r\n\r\nSECRET")

            Expect.equal (TestClient.status answer) 202 "accepted"

            for wrong in
                [
                    // A host that nobody has is named at debug: it is no secret.
                    "GET /SECRET HTTP/1.1\r\nHost: unknown.example\r\nX: SECRET\r\n\r\n"
                    "GET /SECRET HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 k8sreq (SECRET)\r\n\r\n"
                    "GET /SECRET HTTP/1.1\r\nHost: a.example\r\nSECRET\r\n\r\n"
                    "GET /SECRET HTTP/9.9 SECRET\r\nSECRET\r\n\r\n"
                    "POST /SECRET HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: SECRET\r\n\r\n"
                    "POST /SECRET HTTP/1.1\r\nHost: a.example\r\nContent-Length: SECRET\r\n\r\n"
                ] do
                let! answer = TestClient.roundTrip program.Port wrong
                Expect.isGreaterThan (TestClient.status answer) 399 wrong

            for port in ports do
                let! _ = program.Program.Says $"(not delivered to 127.0.0.1:{port}: )"
                ()

            do! program.Stop()

            let! _ =
                program.Program.Says
                    "(OpenTelemetry: metrics are not exported: the certificate cannot be read)"

            let! _ = program.Program.Says "(traces go by grpc to http://127.0.0.1:)"
            Expect.isFalse (program.Program.Errors.Contains "SECRET") "a secret"
        }

        testCaseTask "whatever names and errors say, a line is a line"
        <| fun () -> task {
            let nasty = @"x\nFORGED\r\nFORGED\e[31m\u2028FORGED\u0085"

            use! program =
                TracedProgram.Start(
                    Manifests.clone "lost" "b.example" $"\"{nasty}\""
                    + Manifests.clone $"\"{nasty}\"" "c.example" "nobody"
                    + (Manifests.clone "wrong" "d.example" "nobody").Replace("'d.example'", $"\"{nasty}\""),
                    []
                )

            program.Folder.Write("b.yaml", $"a: \"{nasty}\"\nb: *\"{nasty}")
            let! _ = program.Program.Says "(b.yaml:.*cannot be parsed)"
            do! program.Stop()
            Expect.stringContains program.Program.Errors "FORGED" "they are told"

            for line in lines program do
                Expect.isTrue (timestamp.IsMatch line) line
                Expect.isFalse (line |> Seq.exists Char.IsControl) line
        }

        test "one is one, and many are many" {
            let log = new LogKeeper()
            ProxyLog.routesChanged log 1 2 1
            ProxyLog.copyFailed log "a/b" "x:1" "answered 503" 1 TimeSpan.Zero ""
            ProxyLog.copyFailed log "a/b" "x:1" "answered 503" 2 TimeSpan.Zero "abc"
            ProxyLog.failuresOmitted log "a/b" 1L
            ProxyLog.failuresOmitted log "a/b" 121L
            ProxyLog.laneRecovered log "a/b" "x:1" 1L
            ProxyLog.abandoned log "a/b" "x:1" 3
            ProxyLog.orphansDropped log "a/b" 1L
            ProxyLog.unknownHostsOmitted log 2L
            Log.journalOpened log "/j" 1L
            Log.copiesAdopted log 2L
            Log.stopped log 1L 1L 0L 0L 2L
            KubernetesLog.refusalsNotLogged log 2L
            KubernetesLog.watchFault log "Services" (K8sReq.Core.WatchFault.Unreachable "No route to host.")

            Expect.equal
                // Without their level.
                [ for line in log.Lines -> line.Substring(line.IndexOf ": " + 2).TrimEnd() ]
                [
                    "Routes: 1 host with 2 targets; 1 RequestClone not routed"
                    "A copy for a/b was not delivered to x:1: answered 503 (1 attempt, 0 ms)"
                    "A copy for a/b was not delivered to x:1: answered 503 (2 attempts, 0 ms, trace abc)"
                    "1 more failed copy for a/b not logged (limit: 5 per 10 s)"
                    "121 more failed copies for a/b not logged (limit: 5 per 10 s)"
                    "Queue for a/b (x:1) has room again: 1 copy dropped"
                    "Shutdown timeout: 3 copies for a/b (x:1) not delivered"
                    "RequestClone a/b has not been routed for ORPHAN_KEEP: 1 copy dropped from the journal"
                    "2 more hosts without a routed RequestClone not logged (limit: 5 per minute)"
                    "Journal /j opened: 1 copy recovered"
                    "Took over 2 copies from a replica that is gone"
                    "Stopped. 1 copy accepted: 1 delivered, 0 failed, 0 dropped; 2 retries"
                    "2 more refused statuses not logged (limit: 10 per minute)"
                    "Cannot watch Services: the API server cannot be reached: No route to host. Retrying"
                ]
                "as they are read"
        }

        test "each kind of line has a number and a name of its own" {
            let events = [
                for file in
                    Directory.GetFiles(
                        Path.Combine(PublishedProgram.Root, "src"),
                        "*.fs",
                        SearchOption.AllDirectories
                    ) do
                    for event in Regex.Matches(File.ReadAllText file, @"EventId\((\d+), ""(\w+)""\)") do
                        event.Groups[1].Value, event.Groups[2].Value
            ]

            let kinds = List.distinct events
            Expect.isGreaterThan kinds.Length 40 "they are found"
            Expect.equal (List.distinctBy fst kinds) kinds "numbers"
            Expect.equal (List.distinctBy snd kinds) kinds "names"
        }

        test "every message is one line" {
            let log = new LogKeeper()
            let nasty = "a\nb\r\nc\u001b[0m\u2028d\u2029e\u0085f"

            for tell in
                [
                    fun () -> ProxyLog.notRouted log nasty nasty
                    fun () -> Log.manifestProblem log nasty
                    fun () -> KubernetesLog.statusNotWritten log nasty nasty
                    fun () -> KubernetesLog.watchFault log nasty (K8sReq.Core.WatchFault.Unreachable nasty)
                    fun () -> KubernetesLog.otherLeader log nasty
                    fun () -> Log.starting log nasty nasty
                    fun () -> ProxyLog.copyFailed log nasty nasty nasty 1 TimeSpan.Zero "-"
                    fun () -> ProxyLog.failuresOmitted log nasty 1L
                    fun () -> Log.fatal log nasty (exn nasty)
                ] do
                tell ()

            Expect.hasLength log.Lines 9 "each is there"

            for line in log.Lines do
                Expect.stringContains line "a b  c [0m d e f" "what was said"

                Expect.isFalse
                    (line
                     |> Seq.exists (fun character -> Char.IsControl character || character = '\u2028'))
                    line
        }
    ]
