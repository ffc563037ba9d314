/// Reads spoilt responses of targets, spoilt manifests and heads of requests; ends with 1 at the first that is read wrongly, and
/// says how to make it again.
///
///     dotnet fsi build.fsx fuzz [-- --answers N] [--manifests N] [--heads N] [--seed N] [--threads N]
///
/// Without a number it is ten million responses, a million manifests and ten million heads.
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

// Whether all that are plain were read as the server reads them.
let private runHeads (threads: int) (count: int) (seed: int) : bool =
    let watch = Stopwatch.StartNew()
    printfn "%d heads, seed %d" count seed

    try
        let tally =
            HeadChecks.run HeadChecks.plain threads count seed (fun finished ->
                printfn "  %d in %.0f s" finished watch.Elapsed.TotalSeconds)

        for KeyValue(what, number) in tally.Counts do
            printfn "  %10d %s" number what

        printfn "all that are plain were read rightly, in %.0f s" watch.Elapsed.TotalSeconds
        true
    with :? InvalidOperationException as error ->
        eprintfn "%s" error.Message
        false

type private Options = {
    Answers: int
    Manifests: int
    Heads: int
    Seed: int
    Threads: int
}

let rec private parse (options: Options) (arguments: string list) : Options =
    match arguments with
    | "--answers" :: count :: rest -> parse { options with Answers = int count } rest
    | "--manifests" :: count :: rest -> parse { options with Manifests = int count } rest
    | "--heads" :: count :: rest -> parse { options with Heads = int count } rest
    | "--seed" :: seed :: rest -> parse { options with Seed = int seed } rest
    | "--threads" :: count :: rest -> parse { options with Threads = int count } rest
    | [] -> options
    | other ->
        failwith $"{other} is not understood: --answers N, --manifests N, --heads N, --seed N, --threads N"

let private nothing = {
    Answers = 0
    Manifests = 0
    Heads = 0
    Seed = Random.Shared.Next(Int32.MaxValue / 2)
    Threads = Environment.ProcessorCount
}

[<EntryPoint>]
let main arguments =
    let asked = parse nothing (List.ofArray arguments)

    let options =
        if asked.Answers = 0 && asked.Manifests = 0 && asked.Heads = 0 then
            {
                asked with
                    Answers = 10_000_000
                    Manifests = 1_000_000
                    Heads = 10_000_000
            }
        else
            asked

    let parts = [
        if options.Answers > 0 then
            fun () ->
                run "answers" options.Answers options.Seed Answers.spoil Answers.check (fun answer ->
                    Convert.ToHexString(answer: byte[]))

        if options.Manifests > 0 then
            fun () ->
                run
                    "manifests"
                    options.Manifests
                    options.Seed
                    Manifests.spoil
                    (fun _ text -> Manifests.check text)
                    (fun text -> Convert.ToBase64String(Encoding.Unicode.GetBytes text))

        if options.Heads > 0 then
            fun () -> runHeads options.Threads options.Heads options.Seed
    ]

    if parts |> List.map (fun part -> part ()) |> List.forall id then
        0
    else
        1
