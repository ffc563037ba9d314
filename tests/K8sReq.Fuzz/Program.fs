/// Reads so many spoilt answers, ten million of them if nothing else is said; ends with 1 at the first that is read
/// wrongly, and says how to make it again.
module K8sReq.Fuzz.Program

open System
open System.Diagnostics
open System.Threading.Tasks

let private longest = TimeSpan.FromMinutes 10.0

[<EntryPoint>]
let main arguments =
    let count =
        if arguments.Length > 0 then
            int arguments[0]
        else
            10_000_000

    let seed =
        if arguments.Length > 1 then
            int arguments[1]
        else
            Random.Shared.Next()

    let watch = Stopwatch.StartNew()
    let blocks = 1000
    printfn "%d answers, seed %d" count seed

    try
        Parallel.For(
            0,
            blocks,
            fun block (state: ParallelLoopState) ->
                if watch.Elapsed > longest then
                    state.Stop()
                else
                    let random = Random(seed + block)

                    for _ in 1 .. count / blocks do
                        let answer = Answers.spoil random

                        try
                            Answers.check random answer
                        with error ->
                            failwith
                                $"seed {seed + block}: {error.Message}\n{Convert.ToHexString answer}\n{error.StackTrace}"
        )
        |> fun result ->
            if result.IsCompleted then
                printfn "all read rightly, in %.0f s" watch.Elapsed.TotalSeconds
                0
            else
                eprintfn "stopped after %.0f s" watch.Elapsed.TotalSeconds
                1
    with :? AggregateException as errors ->
        eprintfn "%s" (errors.GetBaseException().Message)
        1
