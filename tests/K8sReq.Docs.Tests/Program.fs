/// The tests of the documents; with `--write`, what `dotnet fsi build.fsx docs` does.
module K8sReq.Docs.Tests.Program

open Expecto

[<EntryPoint>]
let main arguments =
    match arguments with
    | [| "--write" |] ->
        match GeneratedParts.write () with
        | [] -> printfn "Every generated part is current."
        | paths -> paths |> List.iter (printfn "written: %s")

        0
    | _ ->
        runTestsWithCLIArgs
            []
            arguments
            (testList "Docs" [
                GeneratedPartsTests.tests
                LinkTests.tests
                ReadmeTests.tests
                WordTests.tests
                YamlBlockTests.tests
            ])
