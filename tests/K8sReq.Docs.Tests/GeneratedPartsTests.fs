module K8sReq.Docs.Tests.GeneratedPartsTests

open Expecto
open FSharp.Reflection
open K8sReq.Core
open K8sReq.TestKit

let tests =
    testList "generated parts" [
        for document in Documents.all do
            if not (GeneratedParts.names document.Text).IsEmpty then
                test $"{document.Path} is what \"dotnet fsi build.fsx docs\" writes" {
                    let now, renewed =
                        document.Text.Split '\n', (GeneratedParts.renew document.Text).Split '\n'

                    // Both texts in a message would hide what is different.
                    let difference =
                        Seq.zip now renewed |> Seq.tryFind (fun (now, renewed) -> now <> renewed)

                    Expect.isNone difference "first line that differs"
                    Expect.equal now.Length renewed.Length "lines"
                }

        test "every part stands in one document" {
            let used =
                Documents.all
                |> List.collect (fun document -> GeneratedParts.names document.Text)

            Expect.equal (List.sort used) (List.ofSeq GeneratedParts.all.Keys) "each once"
        }

        test "the reasons are those of every error" {
            let cases = FSharpType.GetUnionCases typeof<ResolutionError> |> Array.map _.Name

            let rendered =
                ReasonReference.errors
                |> List.map (fun error ->
                    (fst (FSharpValue.GetUnionFields(error, typeof<ResolutionError>))).Name)

            Expect.equal (List.sort rendered) (List.ofArray (Array.sort cases)) "each once"
        }

        test "every metric is shown with the labels of at least one series" {
            for family in ExposedMetrics.families () do
                Expect.isNonEmpty family.Samples family.Name
        }

        test "text that is not between the comments is kept" {
            let text =
                "before\n<!-- made by \"dotnet fsi build.fsx docs\": reasons -->\nyesterday\n<!-- end -->\nafter\n"

            let renewed = GeneratedParts.renew text
            Expect.stringStarts renewed "before\n<!-- made by" "before it"
            Expect.stringEnds renewed "\n<!-- end -->\nafter\n" "after it"
            Expect.isFalse (renewed.Contains "yesterday") "the part of before"
            Expect.equal (GeneratedParts.renew renewed) renewed "twice is as once"
        }
    ]
