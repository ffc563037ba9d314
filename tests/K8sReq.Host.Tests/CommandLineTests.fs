module K8sReq.Host.Tests.CommandLineTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Host.Arguments

let private parse arguments = CommandLine.parse Map.empty arguments

let private errorsOf (line: string) =
    match parse (List.ofArray (line.Split ' ')) with
    | Ok command -> failtest $"{line}: {command}"
    | Error errors -> errors

let private printed arguments =
    match parse arguments with
    | Ok(Command.Print text) -> text
    | other -> failtest $"{other}"

let private commands = [
    []
    [ "check" ]
    [ "send" ]
    [ "receive" ]
    [ "tap" ]
    [ "doctor" ]
    [ "dead" ]
    [ "dead"; "list" ]
    [ "dead"; "show" ]
    [ "dead"; "replay" ]
    [ "dead"; "drop" ]
    [ "journal" ]
    [ "journal"; "sql" ]
    [ "completion" ]
    [ "version" ]
]

// A line of examples, as a shell splits it.
let private words (line: string) =
    System.CommandLine.Parsing.CommandLineParser.SplitCommandLine(line.Replace('"', '`').Replace('\'', '"'))
    |> Seq.map _.Replace('`', '"')
    |> List.ofSeq

let tests =
    testList "CommandLine" [
        for command in commands do
            let name = String.Join(' ', command)

            test $"help of k8sreq {name} fits into 80 columns, and help and --help are the same" {
                let help = printed (command @ [ "--help" ])
                Expect.equal (printed ("help" :: command)) help "both"

                for line in help.Split '\n' do
                    Expect.isLessThanOrEqual (line.TrimEnd().Length) 80 line
            }

        for command in commands do
            test $"""the examples of k8sreq {String.Join(' ', command)} are understood""" {
                for line in (printed (command @ [ "--help" ])).Split '\n' do
                    if
                        line.StartsWith("  k8sreq ", StringComparison.Ordinal)
                        && not (line.Contains "[options]")
                    then
                        let ends = line.IndexOfAny [| '<'; '>'; '#'; '|' |]
                        let line = if ends < 0 then line else line.Substring(0, ends)

                        match parse (List.tail (words line)) with
                        | Ok _ -> ()
                        // The files of examples are not here.
                        | Error errors -> Expect.all errors _.Contains("does not exist") $"{line}: {errors}"
            }

        test "version, short and with the commit" {
            Expect.equal (parse [ "--version" ]) (Ok(Command.Version false)) "as a flag"
            Expect.equal (parse [ "version" ]) (Ok(Command.Version false)) "as a command"
            Expect.equal (parse [ "version"; "--verbose" ]) (Ok(Command.Version true)) "with more"
        }

        test "help names every setting as flag and as variable" {
            // Lines end wherever they are full.
            let joined (text: string) =
                String.filter (Char.IsWhiteSpace >> not) text

            let help = joined (printed [ "--help" ])

            for spec in KnownSettings.specs do
                Expect.stringContains help (SettingSpec.flag spec + "<") "the flag"
                Expect.stringContains help $"({SettingSpec.variable spec}" "the variable"
                Expect.stringContains help (joined spec.Accepted) "what is accepted"
        }

        test "a word that is nearly right is answered with the right one" {
            Expect.equal
                (errorsOf "chekc x")
                [ "unknown command \"chekc\" (did you mean check?)" ]
                "a command"

            Expect.equal (errorsOf "dead lst") [ "unknown command \"lst\" (did you mean list?)" ] "one below"

            Expect.equal
                (errorsOf "tap --hots a")
                [ "unknown flag --hots (did you mean --host?)"; "unexpected argument \"a\"" ]
                "a flag"

            Expect.equal
                (errorsOf "--htp-addr :1")
                [ "unknown flag --htp-addr (did you mean --http-addr?)" ]
                "a setting"

            Expect.equal (errorsOf "zzz") [ "unknown command \"zzz\"" ] "nothing like it"
        }

        test "a shell is told what may come next" {
            let suggested (line: string) =
                (printed [ $"[suggest:{line.Length}]"; line ]).Split '\n' |> List.ofArray

            Expect.containsAll (suggested "k8sreq d") [ "dead"; "doctor" ] "commands"
            Expect.containsAll (suggested "k8sreq dead ") [ "list"; "show"; "replay"; "drop" ] "those below"
            Expect.contains (suggested "k8sreq check --out") "--output" "flags"
            Expect.containsAll (suggested "k8sreq tap --output ") [ "json"; "table" ] "values"
            Expect.contains (suggested "k8sreq --http") "--http-addr" "settings"
        }

        test "check takes folders, files and standard input" {
            let root = K8sReq.TestKit.PublishedProgram.Root

            let command paths output =
                Ok(Command.Check { Paths = paths; Output = output })

            Expect.equal (parse [ "check"; root ]) (command [ root ] OutputFormat.Table) "one"

            Expect.equal
                (parse [ "check"; root; "-"; "--output=json" ])
                (command [ root; "-" ] OutputFormat.Json)
                "several"

            Expect.equal
                (errorsOf "check")
                [ "check needs a PATH: a folder, a file, or - for standard input" ]
                "none"

            Expect.equal
                (errorsOf "check nowhere1 nowhere2")
                [
                    "\"nowhere1\" does not exist; check takes folders, files, and - for standard input"
                    "\"nowhere2\" does not exist; check takes folders, files, and - for standard input"
                ]
                "each that is not there"

            Expect.equal (errorsOf "check --strict") [ "unknown flag --strict" ] "a flag is no path"
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
                match parse arguments with
                | Error errors -> Expect.hasLength errors 1 $"{arguments}"
                | Ok command -> failtest $"{command}"
        }

        test "receive has defaults, and takes how it is to answer" {
            let defaults = {
                Addr = { Host = ListenHost.Any; Port = 9001 }
                Name = "receiver"
                Status = 200
                Delay = TimeSpan.Zero
                FailEvery = None
            }

            Expect.equal (parse [ "receive" ]) (Ok(Command.Receive defaults)) "defaults"

            Expect.equal
                (parse [
                    "receive"
                    "--addr=:9002"
                    "--name"
                    "app-2"
                    "--status"
                    "503"
                    "--delay"
                    "5s"
                ])
                (Ok(
                    Command.Receive {
                        defaults with
                            Addr = { Host = ListenHost.Any; Port = 9002 }
                            Name = "app-2"
                            Status = 503
                            Delay = TimeSpan.FromSeconds 5.0
                    }
                ))
                "given"

            Expect.equal
                (parse [ "receive"; "--fail-every"; "3" ])
                (Ok(
                    Command.Receive {
                        defaults with
                            Status = 500
                            FailEvery = Some 3
                    }
                ))
                "a failure is a 500"
        }

        test "everything wrong with receive is named at once" {
            Expect.containsAll
                (errorsOf "receive --addr x --nope stray --status 99 --delay soon --fail-every 0 --name")
                [
                    "--addr is \"x\"; accepted is [HOST]:PORT, such as :9001"
                    "unknown flag --nope (did you mean --name?)"
                    "unexpected argument \"stray\""
                    "--status is \"99\"; accepted is a status code from 200 to 599"
                    "--delay is \"soon\"; accepted is a duration such as 5s or 500ms"
                    "--fail-every is \"0\"; accepted is a number from 1"
                    "--name has no value; accepted is any text"
                ]
                "all"
        }

        test "send says what is sent, and how it is signed" {
            let plain = {
                Host = "a.example"
                Addr = "http://127.0.0.1:8080"
                Method = "POST"
                Target = "/"
                Headers = []
                Body = SendBody.Text ""
                Sign = None
            }

            let good: (string list * SendCommand) list = [
                [ "a.example" ], plain

                [ "a.example"; "--data"; "--data"; "--path"; "/a?b=c"; "--method"; "PUT" ],
                {
                    plain with
                        Body = SendBody.Text "--data"
                        Target = "/a?b=c"
                        Method = "PUT"
                }

                [ "-H"; "A: 1"; "a.example"; "--header"; "B:2: 3"; "-H"; "A: " ],
                {
                    plain with
                        Headers = [ "A", "1"; "B", "2: 3"; "A", "" ]
                }

                [ "a.example"; "--file"; "-"; "--sign"; "stripe"; "--secret-file"; "s" ],
                {
                    plain with
                        Body = SendBody.File "-"
                        Sign = Some(WebhookProvider.Stripe, "s")
                }
            ]

            for arguments, expected in good do
                Expect.equal (parse ("send" :: arguments)) (Ok(Command.Send expected)) $"{arguments}"

            for line, error in
                [
                    "send", "HOST is missing: Host header of the request: the host of a RequestClone."
                    "send a --data b --file c", "--data and --file exclude each other"
                    "send a --sign github", "--sign needs --secret-file"
                    "send a --secret-file b", "--secret-file needs --sign"
                    "send a --sign gitlab --secret-file b",
                    "--sign is \"gitlab\"; accepted is github, stripe, slack, standard-webhooks"
                    "send a --path b",
                    "--path is \"b\"; accepted is a path that begins with /, with or without a query"
                    "send a -H b", "--header is \"b\"; accepted is a header as NAME: VALUE"
                    "send a --addr 127.0.0.1:1", "--addr is \"127.0.0.1:1\"; accepted is http://HOST:PORT"
                ] do
                Expect.equal (errorsOf line) [ error ] line
        }

        test "tap says what is to be seen" {
            Expect.equal
                (parse [
                    "tap"
                    "--host"
                    "a"
                    "--clone"
                    "b/c"
                    "--failed"
                    "--paths"
                    "--output"
                    "json"
                ])
                (Ok(
                    Command.Tap {
                        Addr = "http://127.0.0.1:9558"
                        Host = Some "a"
                        Clone = Some(ObjectKey.create "b" "c")
                        OnlyFailed = true
                        Paths = true
                        Output = OutputFormat.Json
                    }
                ))
                "all of it"
        }

        test "a RequestClone has a namespace and a name" {
            for given in [ "ci"; "/ci"; "shop/"; "a/b/c" ] do
                Expect.equal
                    (errorsOf $"tap --clone {given}")
                    [ $"--clone is \"{given}\"; accepted is NAMESPACE/NAME" ]
                    given
        }

        test "doctor takes the settings of the proxy, from flags and variables" {
            match
                CommandLine.parse (Map [ "NAMESPACES", "a,b" ]) [
                    "doctor"
                    "--kubeconfig"
                    "file"
                    "--output"
                    "json"
                ]
            with
            | Ok(Command.Doctor command) ->
                Expect.equal command.Settings.Kubeconfig (Some "file") "a flag"
                Expect.equal command.Settings.Namespaces [ "a"; "b" ] "a variable"
                Expect.equal command.Output OutputFormat.Json "its own"
            | other -> failtest $"{other}"

            Expect.equal
                (errorsOf "doctor --nope")
                [ "unknown flag --nope; --help lists all flags" ]
                "a wrong one"
        }

        test "dead says which dead letters are meant" {
            let parseLine (line: string) =
                parse ("dead" :: List.ofArray (line.Split ' '))

            let command action = {
                Action = action
                Addr = "http://127.0.0.1:9558"
                Fields = []
                IsDryRun = false
                IsAll = false
                Output = OutputFormat.Table
            }

            let good = [
                "list", command DeadAction.List
                "list --output=json --limit 5",
                {
                    command DeadAction.List with
                        Output = OutputFormat.Json
                        Fields = [ "limit", "5" ]
                }
                "show 1-0 --body", command (DeadAction.Show("1-0", false, true))
                "show --headers 1-0", command (DeadAction.Show("1-0", true, false))
                "replay --all --rate 5 --dry-run --addr http://10.0.0.1:9558",
                {
                    command DeadAction.Replay with
                        Addr = "http://10.0.0.1:9558"
                        Fields = [ "rate", "5" ]
                        IsAll = true
                        IsDryRun = true
                }
                "drop --clone shop/ci --until 2h",
                {
                    command DeadAction.Drop with
                        Fields = [ "clone", "shop/ci"; "until", "2h" ]
                }
            ]

            for line, expected in good do
                Expect.equal (parseLine line) (Ok(Command.Dead expected)) line

            for line in
                [
                    "list extra"
                    "list --rate 5"
                    "list --output xml"
                    "list --limit"
                    "list --addr 127.0.0.1"
                    "show"
                    "show 1-0 --clone a/b"
                    "drop"
                    "drop --limit 5"
                    "replay --rate 5"
                    "bury"
                    "--all"
                ] do
                Expect.isError (parseLine line) line

            Expect.isError (parse [ "dead" ]) "nothing said"
        }

        test "anything else serves" {
            match parse [ "--manifests"; "dir"; "--via-name"; "check" ] with
            | Ok(Command.Serve settings) ->
                Expect.equal settings.Manifests (Some "dir") "the folder"
                Expect.equal settings.ViaName "check" "a value is no command"
            | other -> failtest $"{other}"
        }
    ]
