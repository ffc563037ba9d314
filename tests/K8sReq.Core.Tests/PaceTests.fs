module K8sReq.Core.Tests.PaceTests

open System
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Core.Tests.Generators

/// When each of these events happens that ask at these times (milliseconds, growing).
let private times perSecond burst (asked: float list) =
    ((Pace.fresh, []), asked)
    ||> List.fold (fun (pace, happened) at ->
        let now = TimeSpan.FromMilliseconds at
        let struct (next, wait) = Pace.take perSecond burst now pace
        next, (now + wait) :: happened)
    |> snd
    |> List.rev

let private gaps = Gen.choose (0, 30) |> Gen.map float |> Gen.listOf |> Arb.fromGen

let tests =
    testList "Pace" [
        property
            "in no second more happen than that and the burst, in the order in which they asked, none before it asked"
            (Prop.forAll gaps (fun gaps ->
                let asked = gaps |> List.scan (+) 10_000.0
                let happened = times 100 10 asked

                let inSecondFrom (first: TimeSpan) =
                    happened
                    |> List.filter (fun at -> at >= first && at < first + TimeSpan.FromSeconds 1.0)
                    |> List.length

                List.sort happened = happened
                && List.forall2
                    (fun at (asked: float) -> at >= TimeSpan.FromMilliseconds asked)
                    happened
                    asked
                && happened |> List.forall (fun at -> inSecondFrom at <= 111)))

        test "a burst happens at once, what is more comes evenly" {
            let happened = times 100 10 (List.replicate 13 10_000.0)

            Expect.equal
                (happened |> List.map (fun at -> at.TotalMilliseconds - 10_000.0))
                [ 0.0; 0.0; 0.0; 0.0; 0.0; 0.0; 0.0; 0.0; 0.0; 0.0; 10.0; 20.0; 30.0 ]
                "ten, and one each ten milliseconds"
        }
    ]
