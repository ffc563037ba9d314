module K8sReq.Core.Tests.PostgresAddressTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private reads
    name
    text
    (expected: (string * int) list * string * string * string option * (string * string) list)
    = test name {
    match PostgresAddress.tryParse text with
    | None -> failtest "it is one"
    | Some address ->
        Expect.equal
            (address.Hosts,
             address.User,
             address.Database,
             Option.map Secret.reveal address.Password,
             address.Options)
            expected
            text
}

let private anyText =
    Gen.map (fun (NonEmptyString text) -> text) (ArbMap.defaults |> ArbMap.generate)

let tests =
    testList "PostgreSQL addresses" [
        reads
            "all that a URI may say"
            "postgres://app:secret@db.example:6432/orders?sslmode=verify-full&sslrootcert=%2Fca.pem&channel_binding=require"
            ([ "db.example", 6432 ],
             "app",
             "orders",
             Some "secret",
             [
                 "sslmode", "verify-full"
                 "sslrootcert", "/ca.pem"
                 "channel_binding", "require"
             ])

        reads "the least" "postgresql://app@db" ([ "db", 5432 ], "app", "app", None, [])

        reads
            "several servers, IPv6 among them"
            "postgres://app@a:1,b,[::1]:3,[fe80::2]/d"
            ([ "a", 1; "b", 5432; "::1", 3; "fe80::2", 5432 ], "app", "d", None, [])

        reads
            "what is escaped, and a password with what should have been"
            "postgres://a%40b:p%2Fw@rd@db/my%20db"
            ([ "db", 5432 ], "a@b", "my db", Some "p/w@rd", [])

        reads "a password that is empty" "postgres://app:@db/d" ([ "db", 5432 ], "app", "d", Some "", [])

        test "what is no address, or asks for what is not understood" {
            for text in
                [
                    "postgres://"
                    "postgres://db/d"
                    "postgres://app@/d"
                    "postgres://app@db:0/d"
                    "postgres://app@db:x/d"
                    "postgres://app@db:70000/d"
                    "postgres://app@a,,b/d"
                    "postgres://app@[::1/d"
                    "postgres://app@[::1]x/d"
                    "postgres://app@db/d/e"
                    "postgres://app@db/d?sslmode=always"
                    "postgres://app@db/d?sslmode"
                    "postgres://app@db/d?fsync=off"
                    "postgres://app@db/d?password=secret"
                    "mysql://app@db/d"
                ] do
                Expect.isNone (PostgresAddress.tryParse text) text
        }

        test "what people read of one has no password" {
            let address =
                PostgresAddress.tryParse "postgres://app:secret@db,[::1]:3/d" |> Option.get

            Expect.equal (PostgresAddress.describe address) "postgres://db:5432,[::1]:3/d" "where"
            Expect.isFalse ($"{address} %A{address}".Contains "secret") "not even by accident"
            Expect.equal (string (Secret.create "secret")) "***" "nor alone"
        }

        property
            "a password is in nothing that is shown, whatever it is"
            (Prop.forAll (Arb.fromGen anyText) (fun password ->
                let marked = "<<" + password + ">>"

                [ marked; Uri.EscapeDataString marked ]
                |> List.forall (fun password ->
                    let masked = Secret.mask $"postgres://app:{password}@db:5432/d?sslmode=require"
                    masked = "postgres://app:***@db:5432/d?sslmode=require")))

        property
            "an escaped password comes out as it was"
            (Prop.forAll (Arb.fromGen anyText) (fun password ->
                let escaped = Uri.EscapeDataString password

                // A half of a pair is no text, and is replaced.
                Uri.UnescapeDataString escaped <> password
                || (PostgresAddress.tryParse $"postgres://app:{escaped}@db/d"
                    |> Option.bind _.Password
                    |> Option.map Secret.reveal)
                    =
                    Some password))

        test "what has no password is shown as it is, and one among the options is not" {
            for text in [ "/data/journal"; "info"; "http://collector:4317/a@b"; "postgres://app@db/d" ] do
                Expect.equal (Secret.mask text) text text

            Expect.equal
                (Secret.mask "postgres://app@db/d?password=secret&sslmode=require")
                "postgres://app@db/d?password=***&sslmode=require"
                "among the options"
        }

        test
            "an address in quotes, in other words or with a mistake in it is refused, and its password is not shown" {
            for text in
                [
                    "\"postgres://app:secret@db/d\""
                    " postgres://app:secret@db/d"
                    "postgres://us/er:secret@db/d"
                    "host=db user=app password=secret"
                    "Host=db;Username=app;Password = secret;Database=d"
                    "mysql://app:secret@db/d"
                ] do
                Expect.isFalse ((Secret.mask text).Contains "secret") $"{Secret.mask text}"

                match Settings.parse Map.empty [ "--manifests"; "dir"; "--journal"; text ] with
                | Ok _ -> failtest $"{text} was taken for a folder"
                | Error errors ->
                    let told = errors |> List.map Settings.describeError |> String.concat ""
                    Expect.isFalse (told.Contains "secret") told
        }

        test "a journal's setting is a folder or an address, and an error does not tell the password" {
            let parse value =
                Settings.parse Map.empty [ "--manifests"; "dir"; "--journal"; value ]

            let place value =
                match parse value with
                | Ok settings -> settings.Journal |> Option.map _.KeptIn
                | Error errors -> failtest $"{errors}"

            Expect.equal (place "data/journal") (Some(JournalPlace.Folder "data/journal")) "a folder"

            match place "postgres://app:secret@db/d" with
            | Some(JournalPlace.Postgres address) -> Expect.equal address.User "app" "an address"
            | other -> failtest $"{other}"

            match parse "postgres://app:secret@db/d?sslmode=always" with
            | Ok _ -> failtest "accepted"
            | Error errors ->
                let text = errors |> List.map Settings.describeError |> String.concat ""
                Expect.stringContains text "sslmode=always" "what is wrong"
                Expect.isFalse (text.Contains "secret") text

            match parse "postgres://app:secret@db/d" with
            | Ok settings ->
                Expect.equal
                    (Map.find "JOURNAL" (Map.ofList settings.InForce))
                    "postgres://app:***@db/d"
                    "as it is shown"
            | Error errors -> failtest $"{errors}"
        }
    ]
