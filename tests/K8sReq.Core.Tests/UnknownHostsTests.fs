module K8sReq.Core.Tests.UnknownHostsTests

open System
open Expecto
open K8sReq.Core

let private start = DateTimeOffset.UnixEpoch

let private note (second: int) (host: string) (hosts: UnknownHosts) =
    let struct (hosts, _) =
        UnknownHosts.note (start.AddSeconds(float second)) host hosts

    hosts

let private names (hosts: UnknownHosts) = hosts.Hosts |> List.map _.Host

// More than fit, each once.
let private flood (second: int) (hosts: UnknownHosts) =
    Seq.fold
        (fun hosts number -> note (second + number) $"flood-{number}.example" hosts)
        hosts
        (seq { 1 .. UnknownHosts.limit + 50 })

let tests =
    testList "UnknownHosts" [
        test "lists each host once, the latest first, with the number of its requests" {
            let hosts =
                UnknownHosts.empty
                |> note 1 "a.example"
                |> note 2 "b.example"
                |> note 3 "a.example"

            Expect.equal
                hosts.Hosts
                [
                    {
                        Host = "a.example"
                        Requests = 2L
                        FirstSeen = start.AddSeconds 1.0
                        LastSeen = start.AddSeconds 3.0
                    }
                    {
                        Host = "b.example"
                        Requests = 1L
                        FirstSeen = start.AddSeconds 2.0
                        LastSeen = start.AddSeconds 2.0
                    }
                ]
                "both"
        }

        test "tells which host is new to it" {
            let struct (hosts, isNew) = UnknownHosts.note start "a.example" UnknownHosts.empty
            let struct (_, isNewAgain) = UnknownHosts.note start "a.example" hosts
            Expect.equal (isNew, isNewAgain) (true, false) "the first time alone"
        }

        test "a hundred thousand names take no more room than a hundred, and every request is counted" {
            let hosts =
                Seq.fold
                    (fun hosts number -> note (number / 100) $"{number}.example" hosts)
                    UnknownHosts.empty
                    (seq { 1..100_000 })

            Expect.hasLength hosts.Hosts UnknownHosts.limit "listed"
            let listed = hosts.Hosts |> List.sumBy _.Requests
            Expect.equal (listed + hosts.Others) 100_000L "none is forgotten"
        }

        test "a flood of names does not push out the host that comes again and again" {
            let hosts =
                UnknownHosts.empty
                |> note 1 "misspelt.example"
                |> note 2 "misspelt.example"
                |> flood 3

            Expect.contains (names hosts) "misspelt.example" "it stays"
        }

        test "what nobody has asked for in an hour makes room first" {
            let hosts =
                UnknownHosts.empty
                |> note 1 "old.example"
                |> note 2 "old.example"
                |> flood 3600
                |> note 4000 "new.example"

            Expect.contains (names hosts) "new.example" "new"
            Expect.isFalse (List.contains "old.example" (names hosts)) "old"
        }

        test "a name longer than names can be is cut off" {
            let hosts = note 1 (String('x', 30_000)) UnknownHosts.empty
            Expect.equal (hosts.Hosts.Head.Host.Length) 255 "not all of it"
        }
    ]
