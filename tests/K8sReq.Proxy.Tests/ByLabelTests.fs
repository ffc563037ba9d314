module K8sReq.Proxy.Tests.ByLabelTests

open System.Threading.Tasks
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Proxy

let tests =
    testList "ByLabel" [
        testProperty
            "each label has a cell of its own, in whatever order labels are used"
            (Prop.forAll
                (Arb.fromGen (Gen.listOf (Gen.elements [ "a"; "b"; "c"; "d" ])))
                (fun (labels: string list) ->
                    let cells = ByLabel<string, Counter>(Counter)

                    for label in labels do
                        // Texts that are equal are one label, whichever objects they are.
                        cells.Of(System.String(label.ToCharArray())).Add 1L

                    let counted =
                        cells.All
                        |> Seq.map (fun struct (label, count) -> label, int count.Value)
                        |> List.ofSeq
                        |> List.sort

                    counted = (labels |> List.countBy id |> List.sort)))

        testCaseTask "from many threads at once, which use labels by turns, none is counted elsewhere"
        <| fun () -> task {
            let cells = ByLabel<string, Counter>(Counter)

            let work (number: int) =
                for round in 1..3000 do
                    cells.Of([| "a"; "b"; "c" |][(number + round) % 3]).Add 1L

            do! Task.WhenAll [ for number in 1..6 -> Task.Run(fun () -> work number) ]

            Expect.equal
                (cells.All
                 |> Seq.map (fun struct (label, count) -> label, count.Value)
                 |> List.ofSeq
                 |> List.sort)
                [ "a", 6000L; "b", 6000L; "c", 6000L ]
                "each label"
        }
    ]
