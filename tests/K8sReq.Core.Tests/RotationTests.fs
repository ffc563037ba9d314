module K8sReq.Core.Tests.RotationTests

open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

type private Step =
    | Add of owner: int
    | Take

// Of each owner the work has the numbers from 1 on.
let private play (steps: Step list) : (int * int) list =
    let rec go rotation (added: Map<int, int>) taken steps =
        match steps with
        | Add owner :: rest ->
            let number = 1 + (added.TryFind owner |> Option.defaultValue 0)
            go (Rotation.add owner (owner, number) rotation) (added.Add(owner, number)) taken rest
        | Take :: rest ->
            match Rotation.tryTake rotation with
            | ValueSome(struct (work, left)) -> go left added (work :: taken) rest
            | ValueNone -> go rotation added taken rest
        | [] ->
            match Rotation.tryTake rotation with
            | ValueSome(struct (work, left)) -> go left added (work :: taken) []
            | ValueNone -> List.rev taken

    go Rotation.empty Map.empty [] steps

let private steps =
    Gen.frequency [ 3, Gen.map Add (Gen.choose (1, 4)); 1, Gen.constant Take ]
    |> Gen.listOf
    |> Arb.fromGen

let tests =
    testList "Rotation" [
        property
            "all work is done once, that of one owner in its order"
            (Prop.forAll steps (fun steps ->
                let taken = play steps

                [ 1..4 ]
                |> List.forall (fun owner ->
                    let added = steps |> List.filter ((=) (Add owner)) |> List.length
                    taken |> List.filter (fun (of', _) -> of' = owner) = [ for n in 1..added -> owner, n ])))

        property
            "who waits has a turn before anybody else has two"
            (Prop.forAll (Gen.listOf (Gen.choose (1, 4)) |> Arb.fromGen) (fun owners ->
                // All of it waits when the first is taken: rounds of those who still have any.
                let taken = play (owners |> List.map Add) |> List.map snd
                taken = List.sort taken))

        test "an owner that comes late waits for one turn of each of the others" {
            let first = [ Add 1; Add 1; Add 1; Add 2; Add 2; Take ]

            Expect.equal
                (play (first @ [ Add 3 ]) |> List.map fst)
                [ 1; 2; 1; 3; 2; 1 ]
                "behind those who wait, not behind all that they have"
        }
    ]
