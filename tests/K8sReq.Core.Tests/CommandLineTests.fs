module K8sReq.Core.Tests.CommandLineTests

open Expecto
open K8sReq.Core

let private parse arguments = CommandLine.parse Map.empty arguments

let private isError arguments =
    match parse arguments with
    | Ok command -> failtest $"{command}"
    | Error errors -> errors

let tests =
    testList "CommandLine" [
        test "help and version" {
            Expect.equal (parse [ "--help" ]) (Ok Command.Help) "help"
            Expect.equal (parse [ "receive"; "-h" ]) (Ok Command.Help) "help of a command"
            Expect.equal (parse [ "--version" ]) (Ok Command.Version) "version"
        }

        test "help names every setting as flag and as variable" {
            for spec in KnownSettings.specs do
                Expect.stringContains CommandLine.help (SettingSpec.flag spec + " ") "the flag"
                Expect.stringContains CommandLine.help (SettingSpec.variable spec + " ") "the variable"
                Expect.stringContains CommandLine.help spec.Accepted "what is accepted"
        }

        test "check takes one folder" {
            Expect.equal (parse [ "check"; "dir" ]) (Ok(Command.Check "dir")) "one"
            Expect.equal (isError [ "check" ]).Length 1 "none"
            Expect.equal (isError [ "check"; "a"; "b" ]) [ SettingError.UnexpectedArgument "b" ] "two"
            Expect.equal (isError [ "check"; "--strict" ]) [ SettingError.UnknownFlag "--strict" ] "a flag"
        }

        test "a journal's tables can be printed, for a role" {
            Expect.equal (parse [ "journal"; "sql" ]) (Ok(Command.JournalSql None)) "alone"

            Expect.equal
                (parse [ "journal"; "sql"; "--role"; "k8sreq-app" ])
                (Ok(Command.JournalSql(Some "k8sreq-app")))
                "for a role"

            for arguments in
                [
                    [ "journal" ]
                    [ "journal"; "drop" ]
                    [ "journal"; "sql"; "--role" ]
                    [ "journal"; "sql"; "--role"; "a\"; DROP TABLE b" ]
                    [ "journal"; "sql"; "--nope" ]
                    [ "journal"; "sql"; "stray" ]
                ] do
                Expect.hasLength (isError arguments) 1 $"{arguments}"
        }

        test "receive has defaults, and takes an address and a name" {
            Expect.equal
                (parse [ "receive" ])
                (Ok(
                    Command.Receive {
                        Addr = { Host = ListenHost.Any; Port = 9001 }
                        Name = "receiver"
                    }
                ))
                "defaults"

            Expect.equal
                (parse [ "receive"; "--addr=:9002"; "--name"; "app-2" ])
                (Ok(
                    Command.Receive {
                        Addr = { Host = ListenHost.Any; Port = 9002 }
                        Name = "app-2"
                    }
                ))
                "given"
        }

        test "everything wrong with receive is named at once" {
            Expect.equal
                (isError [ "receive"; "--addr"; "x"; "--nope"; "stray"; "--name" ])
                [
                    SettingError.Invalid("--addr", "x", "[HOST]:PORT, such as :9001")
                    SettingError.UnknownFlag "--nope"
                    SettingError.UnexpectedArgument "stray"
                    SettingError.WithoutValue("--name", "any text")
                ]
                "all"
        }

        test "anything else serves" {
            match parse [ "--manifests"; "dir" ] with
            | Ok(Command.Serve settings) -> Expect.equal settings.Manifests (Some "dir") "the folder"
            | other -> failtest $"{other}"
        }
    ]
