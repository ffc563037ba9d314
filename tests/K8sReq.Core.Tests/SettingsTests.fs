module K8sReq.Core.Tests.SettingsTests

open System
open System.Net
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private parse environment arguments =
    Settings.parse (Map.ofList environment) arguments

let private read environment arguments =
    match parse environment arguments with
    | Ok settings -> settings
    | Error errors -> failtest (errors |> List.map Settings.describeError |> String.concat "; ")

let private faults environment arguments =
    match parse environment arguments with
    | Ok _ -> failtest "accepted"
    | Error errors -> errors

let private folder = [ "--manifests"; "dir" ]

let private refuses name environment arguments (expected: SettingError list) = test name {
    Expect.equal (faults environment arguments) expected "all errors, and no others"
}

let tests =
    testList "Settings" [
        test "the defaults are those that users know" {
            Expect.equal
                { read [] folder with InForce = [] }
                {
                    HttpAddr = { Host = ListenHost.Any; Port = 8080 }
                    MetricsAddr = { Host = ListenHost.Any; Port = 9556 }
                    ProbeAddr = { Host = ListenHost.Any; Port = 9557 }
                    Manifests = Some "dir"
                    Kubeconfig = None
                    ReadTimeout = TimeSpan.FromSeconds 30.0
                    WriteTimeout = TimeSpan.FromSeconds 30.0
                    IdleTimeout = TimeSpan.FromSeconds 620.0
                    TargetConnectionMaxAge = TimeSpan.FromSeconds 30.0
                    EventLoops = None
                    BodySizeLimit = Some 2_000_000L
                    Lane = {
                        Concurrency = 256
                        QueueBytes = 16777216L
                    }
                    BufferBytes = 268435456L
                    Journal = None
                    Durability = Durability.Memory
                    MaxConnections = None
                    RetriesPerSecond = 1000
                    MaxClonesPerHost = 1000
                    AllowLocalTargets = None
                    ViaName = "k8sreq"
                    ShutdownDelay = TimeSpan.Zero
                    GracefulShutdownTimeout = TimeSpan.FromSeconds 25.0
                    EnableLeaderElection = false
                    LeaderElectionNamespace = None
                    LeaderElectionName = "k8sreq-duplicator-controller"
                    Namespaces = []
                    WatchLabelSelector = ""
                    Concurrent = 2
                    StatusAddr = {
                        Host = ListenHost.Address IPAddress.Loopback
                        Port = 9558
                    }
                    LogDetail = LogDetail.Info
                    LogFormat = LogFormat.Console
                    OpenTelemetry = []
                    InForce = []
                }
                "defaults"
        }

        test "every setting is read from the environment" {
            let variables = [
                "HTTP_ADDR", "127.0.0.1:1"
                "METRICS_ADDR", ":2"
                "PROBE_ADDR", "[::1]:3"
                "MANIFESTS", "m"
                "KUBECONFIG", "/a:/b"
                "PROXY_READ_TIMEOUT", "1m30s"
                "PROXY_WRITE_TIMEOUT", "500ms"
                "MAX_CONNECTIONS", "500"
                "RETRIES_PER_SECOND", "20"
                "MAX_CLONES_PER_HOST", "7"
                "ALLOW_LOCAL_TARGETS", "false"
                "IDLE_TIMEOUT", "2m"
                "TARGET_CONNECTION_MAX_AGE", "1m"
                "EVENT_LOOPS", "3"
                "BODY_SIZE_LIMIT", "0"
                "MAX_CONCURRENT_REQUESTS", "1"
                "QUEUE_BYTES", "0"
                "BUFFER_BYTES", "65536"
                "JOURNAL", "/data"
                "JOURNAL_PASSWORD_FILE", "/secret/password"
                "DURABILITY", "memory"
                "JOURNAL_BYTES", "1048576"
                "JOURNAL_LINGER", "5ms"
                "ORPHAN_KEEP", "1h"
                "DEAD_LETTER_KEEP", "48h"
                "VIA_NAME", "edge-1"
                "SHUTDOWN_DELAY", "5s"
                "GRACEFUL_SHUTDOWN_TIMEOUT", "0"
                "ENABLE_LEADER_ELECTION", "true"
                "LEADER_ELECTION_NAMESPACE", "kube-system"
                "LEADER_ELECTION_NAME", "k8sreq.a"
                "NAMESPACES", "a, b,a,"
                "WATCH_LABEL_SELECTOR", "team=a"
                "CONCURRENT", "7"
                "STATUS_ADDR", ":4"
                "LOG_LEVEL", "WARN"
                "LOG_FORMAT", "json"
            ]

            let settings =
                read (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317") :: variables) []

            Expect.equal (Map.ofList settings.InForce) (Map.ofList variables) "what is said at the start"

            Expect.equal
                { settings with InForce = [] }
                {
                    HttpAddr = {
                        Host = ListenHost.Address IPAddress.Loopback
                        Port = 1
                    }
                    MetricsAddr = { Host = ListenHost.Any; Port = 2 }
                    ProbeAddr = {
                        Host = ListenHost.Address IPAddress.IPv6Loopback
                        Port = 3
                    }
                    Manifests = Some "m"
                    // Its files may be missing, unlike one that is given as a flag.
                    Kubeconfig = None
                    ReadTimeout = TimeSpan.FromSeconds 90.0
                    WriteTimeout = TimeSpan.FromMilliseconds 500.0
                    IdleTimeout = TimeSpan.FromMinutes 2.0
                    TargetConnectionMaxAge = TimeSpan.FromMinutes 1.0
                    EventLoops = Some 3
                    BodySizeLimit = None
                    Lane = { Concurrency = 1; QueueBytes = 0L }
                    BufferBytes = 65536L
                    Journal =
                        Some {
                            KeptIn = JournalPlace.Folder "/data"
                            PasswordFile = Some "/secret/password"
                            Limit = 1048576L
                            Linger = TimeSpan.FromMilliseconds 5.0
                            OrphanKeep = TimeSpan.FromHours 1.0
                            DeadLetterKeep = TimeSpan.FromHours 48.0
                        }
                    Durability = Durability.Memory
                    MaxConnections = Some 500
                    RetriesPerSecond = 20
                    MaxClonesPerHost = 7
                    AllowLocalTargets = Some false
                    ViaName = "edge-1"
                    ShutdownDelay = TimeSpan.FromSeconds 5.0
                    GracefulShutdownTimeout = TimeSpan.Zero
                    EnableLeaderElection = true
                    LeaderElectionNamespace = Some "kube-system"
                    LeaderElectionName = "k8sreq.a"
                    Namespaces = [ "a"; "b" ]
                    WatchLabelSelector = "team=a"
                    Concurrent = 7
                    StatusAddr = { Host = ListenHost.Any; Port = 4 }
                    LogDetail = LogDetail.Warning
                    LogFormat = LogFormat.Json
                    OpenTelemetry = []
                    InForce = []
                }
                "from the environment"
        }

        test "with a journal, RequestClones that do not say get it; without one it cannot be the default" {
            Expect.equal (read [ "JOURNAL", "/data" ] folder).Durability Durability.Journal "by default"

            Expect.equal
                (read [ "JOURNAL", "/data"; "DURABILITY", "Memory" ] folder).Durability
                Durability.Memory
                "unless it is said"

            Expect.equal
                (faults [ "DURABILITY", "Journal" ] folder)
                [ SettingError.Missing("JOURNAL", "DURABILITY is Journal") ]
                "there is none"
        }

        test "a flag wins over the environment, the last of several flags wins, both spellings are read" {
            let settings =
                read
                    [ "HTTP_ADDR", ":1"; "CONCURRENT", "3" ]
                    (folder @ [ "--http-addr"; ":2"; "--http-addr=:4" ])

            Expect.equal settings.HttpAddr.Port 4 "the last flag"
            Expect.equal settings.Concurrent 3 "the environment where there is no flag"
        }

        test "a switch stands alone or has a value" {
            let isOn arguments =
                (read [] (folder @ arguments)).EnableLeaderElection

            Expect.isTrue (isOn [ "--enable-leader-election" ]) "alone"
            Expect.isTrue (isOn [ "--enable-leader-election=T" ]) "with a value"
            Expect.isFalse (isOn [ "--enable-leader-election=false" ]) "off"

            Expect.isTrue
                (isOn [ "--enable-leader-election"; "--concurrent"; "1" ])
                "followed by another flag"
        }

        test "flags of telemetry are accepted" {
            let settings =
                read
                    []
                    (folder
                     @ [ "--otel-service-name=x"; "--otel-exporter-otlp-endpoint"; "http://x:4317" ])

            Expect.equal settings.Manifests (Some "dir") "and nothing else is changed by them"
        }

        test "an empty variable counts as not set" {
            Expect.equal (read [ "HTTP_ADDR", "" ] folder).HttpAddr.Port 8080 "the default"
        }

        test "a bad variable does not matter where a flag overrides it" {
            Expect.equal
                (read [ "HTTP_ADDR", "x" ] (folder @ [ "--http-addr=:1" ])).HttpAddr.Port
                1
                "the flag"
        }

        refuses
            "every wrong setting is named at once"
            [ "PROXY_READ_TIMEOUT", "30"; "CONCURRENT", "0"; "NAMESPACES", "A_b" ]
            (folder
             @ [
                 "--http-addr"
                 "8080"
                 "--body-size-limit=-1"
                 "--enable-leader-election=maybe"
             ])
            [
                SettingError.Invalid("--http-addr", "8080", "[HOST]:PORT, such as :8080 or 127.0.0.1:8080")
                SettingError.Invalid(
                    "PROXY_READ_TIMEOUT",
                    "30",
                    "a duration of 1ms or more, such as 30s, 1m30s or 500ms"
                )
                SettingError.Invalid("--body-size-limit", "-1", "a number of bytes, 0 for no limit")
                SettingError.Invalid("--enable-leader-election", "maybe", "true or false")
                SettingError.Invalid("NAMESPACES", "A_b", "namespaces, separated by commas")
                SettingError.Invalid("CONCURRENT", "0", "a whole number from 1 to 1000")
            ]

        refuses
            "arguments that are no settings are named with the values that are wrong"
            [ "PROBE_ADDR", "x" ]
            (folder @ [ "--nonsense"; "1"; "--other=2"; "stray"; "--concurrent" ])
            [
                SettingError.UnknownFlag "--nonsense"
                SettingError.UnknownFlag "--other"
                SettingError.UnexpectedArgument "stray"
                SettingError.WithoutValue("--concurrent", "a whole number from 1 to 1000")
                SettingError.Invalid("PROBE_ADDR", "x", "[HOST]:PORT, such as :8080 or 127.0.0.1:8080")
            ]

        test "a kubeconfig file is given as a flag" {
            let settings = read [ "KUBECONFIG", "/a" ] [ "--kubeconfig"; "/b" ]
            Expect.equal settings.Kubeconfig (Some "/b") "the flag"

            Expect.equal
                (faults [] [ "--kubeconfig=" ])
                [ SettingError.Invalid("--kubeconfig", "", "a file") ]
                "an empty one was typed on purpose"
        }

        refuses "a selector that the API server would refuse" [ "WATCH_LABEL_SELECTOR", "team in a" ] folder [
            SettingError.Invalid(
                "WATCH_LABEL_SELECTOR",
                "team in a",
                "a label selector, such as team=a,tier!=test"
            )
        ]

        refuses "a folder flag without a value is one error, not two" [] [ "--manifests" ] [
            SettingError.WithoutValue("--manifests", "a folder")
        ]

        refuses "a timeout of 0 would wait for ever" [] (folder @ [ "--proxy-write-timeout=0s" ]) [
            SettingError.Invalid(
                "--proxy-write-timeout",
                "0s",
                "a duration of 1ms or more, such as 30s, 1m30s or 500ms"
            )
        ]

        refuses "a Via name is a token" [ "VIA_NAME", "a b" ] folder [
            SettingError.Invalid("VIA_NAME", "a b", "letters, digits and any of !#$%&'*+-.^_`|~")
        ]

        test "without a folder the routes come from the cluster" {
            Expect.equal (read [] []).Manifests None "no folder"
        }

        test "messages name what was given and what is accepted" {
            let text =
                faults [ "HTTP_ADDR", "8080" ] folder
                |> List.map Settings.describeError
                |> String.concat "\n"

            Expect.stringContains text "HTTP_ADDR is \"8080\"" "given"
            Expect.stringContains text "accepted is [HOST]:PORT" "accepted"
        }

        property "no arguments make it throw" (fun (arguments: string list) ->
            let nonNull = arguments |> List.map string
            parse [] nonNull |> ignore
            true)
    ]
