module K8sReq.Bench.Program

[<EntryPoint>]
let main arguments =
    match List.ofArray arguments with
    | [ "cluster" ] ->
        ClusterScale.run().GetAwaiter().GetResult()
        0
    | _ ->
        eprintfn "bench: say which: cluster"
        2
