module K8sReq.Core.Tests.Bench.OptionsTests

open Expecto
open K8sReq.Bench

let tests =
    testList "Bench.Options" [
        test "another build has a name, a path, and variables" {
            let parsed =
                Options.parse [ "--also"; "before=/a/k8sreq,JOURNAL=/j,X=a=b"; "--rounds"; "3" ]

            Expect.equal
                parsed
                (Ok {
                    Options.defaults with
                        Rounds = 3
                        Also = [
                            {
                                Name = "before"
                                Path = "/a/k8sreq"
                                Environment = [ "JOURNAL", "/j"; "X", "a=b" ]
                            }
                        ]
                })
                "NAME=PATH,VARIABLE=VALUE"
        }

        test "what cannot be understood is named" {
            for arguments, part in
                [
                    [ "--rounds"; "0" ], "--rounds"
                    [ "--seconds"; "soon" ], "soon"
                    [ "--also"; "k8sreq" ], "k8sreq"
                    [ "--only" ], "--only"
                    [ "--fast" ], "--fast"
                ] do
                match Options.parse arguments with
                | Error message -> Expect.stringContains message part "the message"
                | Ok _ -> failtest $"{arguments} was understood"
        }
    ]
