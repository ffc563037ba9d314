module K8sReq.Docs.Tests.ReadmeTests

open System.Text.RegularExpressions
open Expecto

let private readme = Documents.read "README.md"

let tests =
    testList "README.md" [
        test "has at most 1,200 words" {
            // As wc counts them.
            let words = Regex.Matches(readme.Text, @"\S+")
            Expect.isLessThanOrEqual words.Count 1200 "to be read in ten minutes"
        }

        test "names the two commands that everything begins with" {
            let lines =
                Documents.split readme
                |> snd
                |> List.collect (fun block -> List.ofArray (block.Text.Split '\n'))

            for command in [ "dotnet fsi build.fsx run"; "dotnet fsi build.fsx test" ] do
                Expect.contains lines command "on a line of its own, to be copied"
        }
    ]
