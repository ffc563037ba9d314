module K8sReq.Core.Tests.Bench.RoundsTests

open Expecto
open K8sReq.Bench

let tests =
    testList "Bench.Rounds" [
        test "every second round goes backwards" {
            let orders =
                [ 1..4 ] |> List.map (fun round -> Rounds.order round [ "a"; "b"; "c" ])

            Expect.equal
                orders
                [ [ "a"; "b"; "c" ]; [ "c"; "b"; "a" ]; [ "a"; "b"; "c" ]; [ "c"; "b"; "a" ] ]
                "ABC, CBA"
        }
    ]
