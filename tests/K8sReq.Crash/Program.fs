/// kill -9 and power cuts under load against the published program with a journal, and faults of a PostgreSQL server: whatever
/// was answered 202 has to come to every target. Linux; the power cuts need root and loop devices, the server Debian's
/// postgresql, and they are left out where these are not.
///
///     dotnet fsi build.fsx crash [-- --kills N] [--cuts N] [--server-faults N] [--seed N]
///
/// `--short` is the form of it that is among the tests: 5 kills, 2 power cuts and 6 faults, and the last line counts.
module K8sReq.Crash.Program

open System
open System.Diagnostics
open System.Threading.Tasks

type private Options = {
    Kills: int
    Cuts: int
    ServerFaults: int
    Seed: int
    IsShort: bool
}

/// How a part of it has ended.
[<RequireQualifiedAccess>]
type private PartEnd =
    | Passed
    | Skipped
    | Failed

let rec private parse (options: Options) (arguments: string list) : Options =
    match arguments with
    | "--kills" :: count :: rest -> parse { options with Kills = int count } rest
    | "--cuts" :: count :: rest -> parse { options with Cuts = int count } rest
    | "--server-faults" :: count :: rest ->
        parse
            {
                options with
                    ServerFaults = int count
            }
            rest
    | "--seed" :: seed :: rest -> parse { options with Seed = int seed } rest
    | "--short" :: rest ->
        parse
            {
                options with
                    Kills = 5
                    Cuts = 2
                    ServerFaults = 6
                    IsShort = true
            }
            rest
    | [] -> options
    | other ->
        failwith $"{other} is not understood: --kills N, --cuts N, --server-faults N, --seed N, --short"

let private runPart
    (name: string)
    (seed: int)
    (count: int)
    (run: int -> int -> (int -> unit) -> Task<Verdict * string list>)
    : Task<PartEnd> = task {
    printfn "crash: %d %s, seed %d" count name seed
    let began = Stopwatch.GetTimestamp()

    let progress number =
        if number % 10 = 0 then
            printfn "crash: %d of %d" number count

    let! verdict, faults = run seed count progress

    printfn
        "crash: %d %s in %.0f s: %s"
        count
        name
        (Stopwatch.GetElapsedTime began).TotalSeconds
        (Verdict.describe verdict)

    for fault in faults do
        eprintfn "crash: %s" fault

    return
        if faults.IsEmpty && Verdict.isKept verdict then
            PartEnd.Passed
        else
            eprintfn "crash: failed: %s, seed %d" name seed
            PartEnd.Failed
}

let private run (options: Options) : Task<int> = task {
    let! kills = task {
        if options.Kills > 0 then
            let! ended = runPart "kills" options.Seed options.Kills Kills.run
            return [ ended ]
        else
            return []
    }

    let! cuts = task {
        if options.Cuts = 0 then
            return []
        else
            match DiskImage.whyNot () with
            | Some reason ->
                printfn "crash: power cuts skipped: %s" reason
                return [ PartEnd.Skipped ]
            | None ->
                let! ended = runPart "power cuts" options.Seed options.Cuts PowerCuts.run
                return [ ended ]
    }

    let! faults = task {
        if options.ServerFaults = 0 then
            return []
        else
            match ServerFaults.whyNot () with
            | Some reason ->
                printfn "crash: faults of a server skipped: %s" reason
                return [ PartEnd.Skipped ]
            | None ->
                let! ended =
                    runPart
                        "faults of a server and its replicas"
                        options.Seed
                        options.ServerFaults
                        (ServerFaults.run options.IsShort)

                return [ ended ]
    }

    let ends = kills @ cuts @ faults

    let count ended =
        ends |> List.filter ((=) ended) |> List.length

    if options.IsShort then
        printfn
            "%d passed, %d ignored, %d failed, 0 errored"
            (count PartEnd.Passed)
            (count PartEnd.Skipped)
            (count PartEnd.Failed)

    return if List.contains PartEnd.Failed ends then 1 else 0
}

[<EntryPoint>]
let main arguments =
    let options =
        parse
            {
                Kills = 100
                Cuts = 50
                ServerFaults = 50
                Seed = Random.Shared.Next()
                IsShort = false
            }
            (List.ofArray arguments)

    // Far beyond what it takes: it only ends what hangs.
    let limit =
        TimeSpan.FromSeconds(180.0 + 10.0 * float (options.Kills + options.Cuts + options.ServerFaults))

    Resources.guard limit (fun () -> run options)
