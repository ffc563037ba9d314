/// Reads spoilt answers of targets, ten million of them if nothing else is said, and a tenth as many spoilt manifests; ends
/// with 1 at the first that is read wrongly, and says how to make it again.
module K8sReq.Fuzz.Program

open System
open System.Diagnostics
open System.Text
open System.Threading.Tasks

let private longest = TimeSpan.FromMinutes 10.0

/// Whether all of them were read rightly.
let private run
    (what: string)
    (count: int)
    (seed: int)
    (spoil: Random -> 'T)
    (check: Random -> 'T -> unit)
    show
    =
    let watch = Stopwatch.StartNew()
    let blocks = 1000
    printfn "%d %s, seed %d" count what seed

    try
        let result =
            Parallel.For(
                0,
                blocks,
                fun block (state: ParallelLoopState) ->
                    if watch.Elapsed > longest then
                        state.Stop()
                    else
                        let random = Random(seed + block)

                        for _ in 1 .. max 1 (count / blocks) do
                            let input = spoil random

                            try
                                check random input
                            with error ->
                                failwith
                                    $"seed {seed + block}: {error.Message}\n{show input}\n{error.StackTrace}"
            )

        if result.IsCompleted then
            printfn "all read rightly, in %.0f s" watch.Elapsed.TotalSeconds
            true
        else
            eprintfn "stopped after %.0f s" watch.Elapsed.TotalSeconds
            false
    with :? AggregateException as errors ->
        eprintfn "%s" (errors.GetBaseException().Message)
        false

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

    let answers =
        run "answers" count seed Answers.spoil Answers.check (fun answer ->
            Convert.ToHexString(answer: byte[]))

    let manifests =
        run "manifests" (count / 10) seed Manifests.spoil (fun _ text -> Manifests.check text) (fun text ->
            Convert.ToBase64String(Encoding.Unicode.GetBytes text))

    if answers && manifests then 0 else 1
