module K8sReq.Bench.Program

open System

[<EntryPoint>]
let main arguments =
    // Before the first socket: the load generator is to take as little as it can of what it shares with its peers.
    Environment.SetEnvironmentVariable("DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS", "1")

    match List.ofArray arguments with
    | [ "cluster" ] ->
        ClusterScale.run().GetAwaiter().GetResult()
        0
    | [ "hot-methods"; program; file ] -> (HotMethods.run program file).GetAwaiter().GetResult()
    | "micro" :: options -> Micro.run options
    | options -> Comparison.run(options).GetAwaiter().GetResult()
